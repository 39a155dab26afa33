"""Every route of the URL table × every role × GET and POST, compared with ``tests/web/routes.py``: deny by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from portal.accounts.access import declared
from portal.accounts.models import ApiKey, User
from portal.lib.clock import now
from tests.web.conftest import Everybody
from tests.web.routes import ROLES, ROUTES

As = Callable[[User | None], Client]
ELSEWHERE = ("back-office/", "api/")  # superusers only, see below; the API has keys and tests of its own


def patterns(resolver: URLResolver | None = None, prefix: str = "") -> list[tuple[str, URLPattern]]:
    """(path, pattern) of every door."""
    found: list[tuple[str, URLPattern]] = []
    for item in (resolver or get_resolver()).url_patterns:
        at = prefix + str(item.pattern)
        found += patterns(item, at) if isinstance(item, URLResolver) else [(at, item)]
    return found


def _key(everybody: Everybody) -> int:
    tenant = everybody.world.alice.tenant
    return ApiKey.objects.create(tenant=tenant, name="k", prefix="tp", digest="d", created_at=now()).pk


# (beginning of the path, name in the path) → value; the first that fits. Anything else: 1 for a number, "x" for a text.
FILL: tuple[tuple[str, str, Callable[[Everybody], Any]], ...] = (
    ("t/", "slug", lambda e: "alice"),
    ("tenants/", "slug", lambda e: "alice"),
    ("pools/", "slug", lambda e: "chat-8b"),
    ("tiers/", "slug", lambda e: "elastic"),
    ("entitlements/", "slug", lambda e: e.world.alice.slug),
    ("fairness/", "slug", lambda e: e.world.alice.slug),
    ("timeline/", "slug", lambda e: "chat-8b"),
    ("scaling/", "slug", lambda e: "chat-8b"),
    ("", "key_id", _key),
    ("people/", "user_id", lambda e: e.vera.pk),
    ("", "number", lambda e: 1),
)


def address(path: str, pattern: URLPattern, everybody: Everybody) -> str:
    """A real address of a route in Alice's world."""
    for name, converter in pattern_converters(path, pattern).items():
        fits = (make(everybody) for start, key, make in FILL if key == name and path.startswith(start))
        value = next(fits, 1 if converter == "int" else "x")
        path = path.replace(f"<{converter}:{name}>", str(value)).replace(f"<{name}>", str(value))
    return "/" + path


def pattern_converters(path: str, pattern: URLPattern) -> dict[str, str]:
    """name → converter of everything to be filled in."""
    parts = [part.split(">")[0] for part in path.split("<")[1:]]
    return {part.rpartition(":")[2]: part.rpartition(":")[0] or "str" for part in parts}


def here() -> list[tuple[str, URLPattern]]:
    """The portal's own pages."""
    return [(path, pattern) for path, pattern in patterns() if not path.startswith(ELSEWHERE)]


ASKED = {str(pattern.name): (path, pattern) for path, pattern in here() if pattern.name in ROUTES}


def test_every_route_has_a_name_and_a_line_in_the_table() -> None:
    nameless = [path for path, pattern in here() if not pattern.name]
    assert nameless == [], "give every path() a name=, so that tests/web/routes.py can say who may open it"
    missing = sorted(f'    "{p.name}": (READERS, NONE),  # /{path}' for path, p in here() if p.name not in ROUTES)
    assert missing == [], "Who may open these? Add a line for each to ROUTES in tests/web/routes.py:\n" + "\n".join(
        missing
    )
    assert sorted(set(ROUTES) - set(ASKED)) == [], "these lines of tests/web/routes.py have no route any more"


def test_every_view_declares_who_may_open_it() -> None:
    assert [pattern.name for _, pattern in patterns() if not declared(pattern.callback)] == []


def people(everybody: Everybody) -> dict[str, User | None]:
    """Who plays which role."""
    e = everybody
    cast = (None, e.eda, e.vera, e.alan, e.anna, e.ada, e.olga, e.root)
    return dict(zip(ROLES, cast, strict=True))


def let_in(answer: HttpResponse) -> bool:
    """Whether the door was open; what the room then says of an empty form does not matter here."""
    to_sign_in = answer.status_code == 302 and answer["Location"].startswith("/sign-in/?next=")
    return answer.status_code not in {401, 403, 404, 405} and not to_sign_in


@pytest.mark.parametrize("name", list(ROUTES))
def test_each_role_at_each_door(name: str, everybody: Everybody, as_: As) -> None:
    if name not in ASKED:
        pytest.skip("no such route; the test above says so")
    path, pattern = ASKED[name]
    at, troubles = address(path, pattern, everybody), []
    for method, may in zip(("GET", "POST"), ROUTES[name], strict=True):
        for role, user in people(everybody).items():
            with transaction.atomic():
                answer = as_(user).generic(method, at)
                transaction.set_rollback(True)
            assert answer.status_code < 500 or answer.status_code == 503, f"{role} {method} {at}: {answer.status_code}"
            made_up = answer.status_code == 404 and "<int:" in path  # an id that nothing has: the door itself was open
            if let_in(answer) != (role in may) and not (made_up and role in may):
                expected = "be let in" if role in may else "be refused"
                troubles.append(f"{role} {method} {at} should {expected}, got {answer.status_code}")
            if role == "stranger" and at.startswith("/t/"):
                assert answer.status_code in {404, 405}, f"{at}: another tenant does not even exist"
    teach = "correct the decorator, or the line in tests/web/routes.py; a 404 for everybody: FILL needs a real slug"
    assert troubles == [], "\n".join([*troubles, teach])


def test_back_office_is_closed_to_every_role(everybody: Everybody, as_: As) -> None:
    doors = [path for path, _ in patterns() if path.startswith("back-office/") and "<" not in path and "^" not in path]
    assert len(doors) > 10
    for path in doors:
        if path.endswith(("login/", "logout/")):
            continue
        for role, user in people(everybody).items():
            answer = as_(user).get("/" + path)
            assert answer.status_code in {302, 403, 404}, f"{role} got {answer.status_code} from /{path}"
