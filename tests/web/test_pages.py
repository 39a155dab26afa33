"""What pages say, what they cost in queries, and the headers they carry."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import ApiKey, User
from tests.portal_cast import publish
from tests.web import pages
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
COUNTS = Path(__file__).with_name("query_counts.json")
RATCHET = {**pages.OPERATOR, **pages.TENANT, **pages.PARTS}


@pytest.mark.parametrize("name", RATCHET)
def test_query_counts_only_fall(name: str, everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    client.get(RATCHET[name])
    with CaptureQueriesContext(
        connection,
    ) as seen:
        assert client.get(RATCHET[name]).status_code == 200
    known = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    if os.environ.get("WRITE_QUERY_COUNTS"):
        COUNTS.write_text(json.dumps({**known, name: len(seen)}, indent=1, sort_keys=True) + "\n")
        return
    assert len(seen) <= known[name], (
        f"{name} asks {len(seen)} queries, {known[name]} were enough before: see N+1 or justify"
    )
    assert len(seen) <= 30


def test_pages_carry_a_strict_policy(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    plain, charts = (
        client.get("/tiers/")["Content-Security-Policy"],
        client.get("/pools/chat-8b/")["Content-Security-Policy"],
    )
    assert "script-src 'self';" in plain and "unsafe" not in plain
    assert "script-src 'self';" in charts and "style-src 'self' 'unsafe-inline'" in charts
    assert client.get("/sign-in/")["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("at", ["/overview/", "/pools/chat-8b/", "/t/eve/", "/t/eve/keys/", "/system/"])
def test_no_inline_script_and_no_foreign_address(at: str, everybody: Everybody, as_: As) -> None:
    text = as_(everybody.olga).get(at).content.decode()
    assert "<script>" not in text and "onclick=" not in text and " style=" not in text
    assert "https://" not in text


def test_pool_page_shows_the_live_state(everybody: Everybody, as_: As) -> None:
    text = as_(everybody.olga).get("/pools/chat-8b/").content.decode()
    assert "Room at 50%." in text
    assert "owed 20" in text and "Alice" in text and "Bob" in text


def test_without_live_data_nothing_is_called_zero(everybody: Everybody, as_: As, valkey: object) -> None:
    publish(everybody.world.pool, at_ms=1)
    text = as_(everybody.olga).get("/pools/chat-8b/").content.decode()
    assert "No live data" in text and "0 of" not in text


def test_home_speaks_plainly(everybody: Everybody, as_: As) -> None:
    text = as_(everybody.eda).get("/t/eve/").content.decode()
    assert "of your usual size now" in text
    assert "Alice" not in text and "Bob" not in text


def test_charts_are_figures_with_named_colours(everybody: Everybody, as_: As) -> None:
    found = as_(everybody.olga).get("/pools/chat-8b/charts/?range=1h&dimension=kv").json()
    assert {trace["meta"]["role"] for trace in found["use"]["data"]} == {"tenant", "capacity", "promised"}
    assert found["use"]["data"][0]["fillcolor"] == "@guaranteed/0"
    assert found["range"]["seconds"] == 3600


def test_a_tenant_polls_only_its_own_rows(everybody: Everybody, as_: As) -> None:
    found = as_(everybody.eda).get("/t/eve/live/").json()
    assert [row[0] for row in found["rows"]] == [everybody.world.eve.pk]
    assert "use" not in found["pool"]


@pytest.mark.django_db(transaction=True)
def test_a_key_is_shown_once_and_revoked_for_good(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.alan)
    made = client.post("/t/alice/keys/new/", {"name": "batch job", "days": "30"})
    key = ApiKey.objects.get(name="batch job")
    assert made.status_code == 201 and made.content.count(b"tp_live_") >= 1
    plaintext = made.context["made"].plaintext
    assert plaintext in made.content.decode()
    assert plaintext not in client.get("/t/alice/keys/").content.decode()
    assert as_(everybody.eda).post(f"/t/eve/keys/{key.pk}/revoke/").status_code == 404, "a key of another tenant"
    assert client.post(f"/t/alice/keys/{key.pk}/revoke/").status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_bad_key_form_says_why(everybody: Everybody, as_: As) -> None:
    assert as_(everybody.alan).post("/t/alice/keys/new/", {"name": ""}).status_code == 422


def test_usage_leaves_as_csv(everybody: Everybody, as_: As) -> None:
    answer = as_(everybody.eda).get("/t/eve/usage.csv?range=7d")
    assert answer["Content-Type"].startswith("text/csv") and b"requests" in answer.content.splitlines()[0]


def test_odd_filters_break_nothing(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    for at in (
        "/entitlements/?after=x&state=nope",
        "/entitlements/?q=%00",
        "/scaling/?after=-1",
        "/t/eve/debt/?before=99999999999999999999",
        "/pools/chat-8b/?range=9y&dimension=x",
        "/tenants/?after=9999999999999999999999",
    ):
        assert client.get(at).status_code in {200, 400}, at
