"""Every route of the URL table × every role × GET and POST, compared with ``tests/web/routes.py``: deny by default."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import encrypt
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from portal.accounts.access import declared
from portal.accounts.invitations import invitation_insert
from portal.accounts.models import ApiKey, User
from portal.lib.clock import now
from tests.web import pages
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
    usual = {"tenant": tenant, "name": "k", "prefix": "tp", "created_at": now()}
    return ApiKey.objects.get_or_create(digest="d", defaults=usual)[0].pk


def _invitation(everybody: Everybody) -> str:
    _row, token = invitation_insert(
        email="new@example.org",
        tenant=everybody.world.alice.tenant,
        role="viewer",
        platform_role="",
        by=None,
        now=now(),
    )
    return token


# (beginning of the path, name in the path) → value; the first that fits. Anything else: 1 for a number, "x" for a text.
FILL: tuple[tuple[str, str, Callable[[Everybody], Any]], ...] = (
    ("t/", "slug", lambda e: "alice"),
    ("tenants/", "slug", lambda e: "alice"),
    ("onboard/", "slug", lambda e: "alice"),
    ("onboard/", "draft", lambda e: "d1"),
    ("onboard/", "step", lambda e: "tenant"),
    ("pools/", "slug", lambda e: "chat-8b"),
    ("pools/", "endpoint_id", lambda e: e.world.pool.endpoints.get().pk),
    ("pools/", "deed", lambda e: "drain"),
    ("tiers/", "slug", lambda e: "elastic"),
    ("entitlements/", "slug", lambda e: e.world.alice.slug),
    ("fairness/", "slug", lambda e: "chat-8b"),
    ("timeline/", "slug", lambda e: "chat-8b"),
    ("scaling/", "slug", lambda e: "chat-8b"),
    ("system/", "slug", lambda e: "chat-8b"),
    ("", "key_id", _key),
    ("people/", "user_id", lambda e: e.vera.pk),
    ("people/", "before", lambda e: "none"),
    ("people/", "state", lambda e: "off"),
    ("invitation/", "token", _invitation),
    ("", "number", lambda e: 1),
)


def _address_key(everybody: Everybody) -> str:
    row = EmailAddress.objects.create(user=everybody.vera, email="new@example.org")
    return str(EmailConfirmationHMAC.create(row).key)


# Doors whose pattern is a regular expression.
GIVEN: dict[str, Callable[[Everybody], str]] = {
    "account_reset_password_from_key": lambda e: "/forgot/1-x/",
    "account_confirm_email": lambda e: f"/account/email/{_address_key(e)}/",
}


def address(path: str, pattern: URLPattern, everybody: Everybody) -> str:
    """A real address of a route in Alice's world."""
    if pattern.name in GIVEN:
        return GIVEN[pattern.name](everybody)
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


@pytest.fixture
def furnished(everybody: Everybody) -> Everybody:
    """Everybody has an authenticator app and recovery codes, so that their pages are there."""
    for user in filter(None, people(everybody).values()):
        Authenticator.objects.create(user=user, type="totp", data={"secret": "x"})
        Authenticator.objects.create(user=user, type="recovery_codes", data={"seed": encrypt("ab"), "used_mask": 0})
    return everybody


@pytest.mark.parametrize("role", ROLES)
def test_each_role_at_every_door(role: str, furnished: Everybody, as_: As) -> None:
    user, troubles = people(furnished)[role], []
    addresses = {name: address(path, pattern, furnished) for name, (path, pattern) in ASKED.items()}
    for name, at in addresses.items():
        for method, may in zip(("GET", "POST"), ROUTES[name], strict=True):
            with transaction.atomic():
                answer = as_(user).generic(method, at)
                transaction.set_rollback(True)
            told, expected = f"{role} {method} {at}", "be let in" if role in may else "be refused"
            assert answer.status_code < 500 or answer.status_code == 503, f"{told}: {answer.status_code}"
            # an id that nothing has: the door itself was open
            made_up = answer.status_code == 404 and "<int:" in ASKED[name][0] and role in may
            if let_in(answer) != (role in may) and not made_up:
                troubles.append(f"{name}: {told} should {expected}, got {answer.status_code}")
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


# Forms that an auditor may send on a page: one's own account, signing out, asking what would be (changes nothing).
OWN = ("/sign-out/", "/account/", "/audit/verify/")


@pytest.mark.parametrize("role", ["auditor", "viewer"])
def test_who_changes_nothing_finds_no_button(role: str, everybody: Everybody, as_: As) -> None:
    client, troubles = as_(people(everybody)[role]), []
    tenant = {name: at.replace("/t/eve/", "/t/alice/") for name, at in pages.TENANT.items()}
    for name, at in ({**pages.OPERATOR, **tenant} if role == "auditor" else tenant).items():
        answer = client.get(at)
        if answer.status_code != 200 or at.startswith(OWN):
            continue
        text = answer.content.decode()
        main = text[text.index("<main") : text.index("</main>")]
        forms = re.findall(r"<form[^>]*method=\"post\"[^>]*>", main)
        buttons = re.findall(r"<(?:button|a)[^>]*hx-(?:post|put|delete)=[^>]*>", main)
        troubles += [f"{name} ({at}): {tag}" for tag in (*forms, *buttons) if not any(own in tag for own in OWN)]
    assert troubles == [], "hide what this role may not do:\n" + "\n".join(troubles)
