"""Every address × everybody who may not: the walk takes the addresses from the URL table, so that none is forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from portal.accounts.access import declared
from portal.accounts.models import ApiKey, User
from portal.lib.clock import now
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
PUBLIC = {"sign-in", "sign-out", "livez", "readyz"}
POSTS = {"sign-out", "tenant-key-create", "tenant-key-revoke"}
ELSEWHERE = ("back-office/", "api/")


def patterns(resolver: URLResolver | None = None, prefix: str = "") -> list[URLPattern]:
    """Every page of the portal itself."""
    found: list[URLPattern] = []
    for item in (resolver or get_resolver()).url_patterns:
        at = prefix + str(item.pattern)
        if at.startswith(ELSEWHERE):
            continue
        found += patterns(item, at) if isinstance(item, URLResolver) else [item]
    return found


PAGES = sorted({p.name for p in patterns() if p.name and hasattr(p.callback, "access")})


def address(name: str, everybody: Everybody) -> str:
    """The page's address in Alice's world."""
    if name.startswith("tenant-key-revoke"):
        key = ApiKey.objects.create(
            tenant=everybody.world.alice.tenant, name="k", prefix="tp", digest="d", created_at=now()
        )
        return reverse(name, args=["alice", key.pk])
    if name.startswith("tenant-"):
        return reverse(name, args=["alice"])
    if name == "tier":
        return reverse(name, args=["elastic"])
    if name == "pool" or name.startswith("pool-"):
        return reverse(name, args=["chat-8b"])
    return reverse(name)


def access_of(name: str) -> str:
    """What the view declared."""
    return next(str(p.callback.access) for p in patterns() if p.name == name)  # type: ignore[attr-defined]


def ask(client: Client, name: str, at: str) -> int:
    """The status of the page's own method."""
    return (client.post(at) if name in POSTS else client.get(at)).status_code


def test_every_view_declares_who_may_open_it() -> None:
    assert [p.name for p in patterns() if not declared(p.callback)] == []
    assert len(PAGES) > 25


@pytest.mark.parametrize("name", PAGES)
def test_who_may_open_it(name: str, everybody: Everybody, as_: As) -> None:
    at, access = address(name, everybody), access_of(name)
    seen = {who: ask(as_(getattr(everybody, who, None)), name, at) for who in ("nobody", "eda", "vera", "ada", "olga")}
    if name in PUBLIC:
        assert set(seen.values()) <= {200, 302}
        return
    answer = as_(None).post(at) if name in POSTS else as_(None).get(at)
    assert answer.status_code == 302 and answer["Location"].startswith("/sign-in/?next="), "nobody is sent to sign in"
    if access == "reads_everything":
        assert (seen["eda"], seen["vera"]) == (403, 403)
        assert (seen["ada"], seen["olga"]) == (200, 200)
    elif access == "tenant:viewer":
        assert seen["eda"] == 404, "another tenant does not even exist"
        assert (seen["vera"], seen["ada"], seen["olga"]) == (200, 200, 200)
    elif access == "tenant:member":
        assert seen["eda"] == 404
        assert (seen["vera"], seen["ada"]) == (403, 403), "viewers and auditors change nothing"
        assert seen["olga"] in {200, 201, 302, 422}
    else:
        assert access == "signed_in" and set(seen.values()) <= {200, 302}


def test_unknown_things_are_404_with_a_page(everybody: Everybody, as_: As) -> None:
    for at in ("/pools/none/", "/tiers/none/", "/t/none/", "/t/alice/?pool=none", "/nowhere/"):
        answer = as_(everybody.olga).get(at)
        assert answer.status_code == 404, at
        assert b"To the start" in answer.content


def test_a_view_that_declares_nothing_is_refused(
    everybody: Everybody, as_: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = next(p.callback for p in patterns() if p.name == "overview")
    monkeypatch.delattr(view, "access")
    assert as_(everybody.olga).get("/overview/").status_code == 403


def test_fragments_say_that_the_session_ended(everybody: Everybody, as_: As) -> None:
    assert as_(None).get("/pools/chat-8b/endpoints/", HTTP_HX_REQUEST="true").status_code == 401
    assert as_(None).get("/pools/chat-8b/charts/", HTTP_ACCEPT="application/json").status_code == 401


def test_back_office_is_for_superusers_and_changes_nothing(everybody: Everybody, as_: As) -> None:
    assert as_(everybody.olga).get("/back-office/").status_code == 302
    root = User.objects.create_superuser("root@example.org", "correct horse battery")
    client = as_(root)
    assert client.get("/back-office/").status_code == 200
    assert client.get("/back-office/pools/entitlement/").status_code == 200
    assert client.get("/back-office/accounts/tenant/add/").status_code == 403
