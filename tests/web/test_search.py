"""Search: operators find everything, a tenant's people only their own, and every hit leads somewhere they may open."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import Tenant, User
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


def hits(client: Client, text: str, at: str = "/search/drop/") -> list[tuple[str, str]]:
    """(name, address) of what is listed."""
    page = client.get(at, {"q": text}).content.decode()
    return re.findall(r'href="([^"]+)"><span class="hit-name">([^<]*)', page)


def test_operators_find_all_kinds_and_each_hit_opens(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    found = hits(client, "e")
    assert {name for _, name in found} >= {"Eve", "Alice", "elastic"}
    for at, name in [*found, *hits(client, "chat"), *hits(client, everybody.world.alice.slug)]:
        assert client.get(at.replace("&amp;", "&")).status_code == 200, (at, name)


@pytest.mark.parametrize("text", ["Alice", "alice", "guaranteed", "spot"])
def test_a_tenants_people_find_nothing_of_others(text: str, everybody: Everybody, as_: As) -> None:
    assert hits(as_(everybody.eda), text) == []
    assert b"Nothing is named like" in as_(everybody.eda).get("/search/", {"q": text}).content


def test_a_tenants_people_find_their_own_and_may_open_it(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.eda)
    found = [*hits(client, "eve"), *hits(client, "chat")]
    assert len(found) >= 3
    for at, _ in found:
        assert at.startswith("/t/eve/") and client.get(at.replace("&amp;", "&")).status_code == 200


def test_the_page_of_all_hits_works_without_scripts(everybody: Everybody, as_: As) -> None:
    text = as_(everybody.olga).get("/search/", {"q": "chat"}).content.decode()
    assert "<h2" in text and 'href="/pools/chat-8b/"' in text and 'value="chat"' in text
    assert "Type a name" in as_(everybody.olga).get("/search/").content.decode()


@pytest.mark.parametrize("text", ["\x00", "%", "_", "'", "ü" * 500, "😀", "  ", "\\"])
def test_any_text_is_harmless(text: str, everybody: Everybody, as_: As) -> None:
    assert as_(everybody.olga).get("/search/drop/", {"q": text}).status_code == 200


def test_names_are_escaped(everybody: Everybody, as_: As) -> None:
    Tenant.objects.filter(slug="eve").update(name="<b>علي</b> 😀")
    text = as_(everybody.olga).get("/search/drop/", {"q": "علي"}).content.decode()
    assert "&lt;b&gt;علي" in text and "<b>" not in text
