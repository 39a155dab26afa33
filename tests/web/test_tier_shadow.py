"""The shadow's panel and chart, and a trial of terms on the last day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client

from billing.services.shadow import shadows_evaluate
from billing.services.what_if import tier_what_if
from pools.models import ShadowMinute, ShadowRun, Tier
from pools.services.tier_shadow import tier_shadow_start, tier_shadow_stop
from pools.services.tier_terms import TierTerms
from portal.accounts.models import User
from portal.lib.clock import now
from tests.cast import OLGA
from tests.facts import came, sampled
from tests.web.conftest import Everybody
from tests.web.test_tiers import elastic, text_of, typed

As = Callable[[User | None], Client]
NARROW = TierTerms.of_class("elastic", burst_concurrency=Decimal(1))
CHART = "/tiers/elastic/shadow/chart/"


def minutes_ago(minutes: float) -> datetime:
    return now().replace(second=0, microsecond=0) - timedelta(minutes=minutes)


def busy(everybody: Everybody, at: datetime, count: int = 8) -> None:
    """Eve sends more at once than a narrower tier would take, and is refused a little."""
    for second in range(count):
        came(everybody.world.eve, at + timedelta(seconds=10 + second), runs_s=20)
    sampled(everybody.world.eve, at + timedelta(seconds=20), {"pool_full": 2})


@pytest.fixture
def watched(everybody: Everybody) -> Tier:
    """Eve's tier, five minutes in shadow, judged."""
    tier_shadow_start(actor=OLGA, now=minutes_ago(6), tier_id=elastic().pk, terms=NARROW)
    shadows_evaluate(minutes_ago(6))
    busy(everybody, minutes_ago(4))
    shadows_evaluate(now())
    return elastic()


def test_the_panel_says_what_it_would_have_refused(watched: Tier, everybody: Everybody, as_: As) -> None:
    text = text_of(as_(everybody.ada).get("/tiers/elastic/"))
    assert "v2 would have refused 5 of 10 requests (50 %); the terms in force refused 2 (20 %)." in text
    assert "concurrency 3" in text and "pool full 2" in text and ">Eve</a>" in text
    assert f'data-figure="{CHART}?range=1h"' in text and "Stop watching" not in text, "an auditor stops nothing"
    operator = text_of(as_(everybody.olga).get("/tiers/elastic/?range=24h"))
    assert "Stop watching" in operator and "Put in force" in operator and "In the last 24 hours" in operator


def test_the_chart_draws_reasons_and_the_terms_in_force(watched: Tier, everybody: Everybody, as_: As) -> None:
    found = as_(everybody.ada).get(f"{CHART}?range=1h").json()
    drawn = {trace["name"]: trace["y"] for trace in found["shadow"]["data"] if trace["y"]}
    assert drawn == {"concurrency": [3], "pool full": [2], "refused by the terms in force": [2, 2]}
    assert found["empty"] is False and found["range"]["seconds"] == 3600
    ShadowMinute.objects.all().delete()
    assert as_(everybody.ada).get(CHART).json()["empty"] is True


def test_before_its_first_minute_and_after_its_end(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    assert "in shadow" not in text_of(client.get("/tiers/elastic/"))
    assert client.get(CHART).json() == {"empty": True}
    tier_shadow_start(actor=OLGA, now=now(), tier_id=elastic().pk, terms=NARROW)
    assert "its first minute is judged soon" in text_of(client.get("/tiers/elastic/"))
    shadows_evaluate(now())
    assert "its first minute is judged soon" in text_of(client.get("/tiers/elastic/"))
    tier_shadow_stop(actor=OLGA, now=now(), tier_id=elastic().pk)
    shadows_evaluate(now())
    assert "stopped before its first minute was over" in text_of(client.get("/tiers/elastic/"))


def test_nothing_asked_is_not_nothing_refused(everybody: Everybody, as_: As) -> None:
    tier_shadow_start(actor=OLGA, now=minutes_ago(5), tier_id=elastic().pk, terms=NARROW)
    shadows_evaluate(minutes_ago(5))
    shadows_evaluate(now())
    assert ShadowRun.objects.get().judged_until > ShadowRun.objects.get().since
    assert "nobody asked for anything" in text_of(as_(everybody.olga).get("/tiers/elastic/"))


def test_what_if_tries_typed_terms_on_the_last_day(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    at = "/tiers/elastic/what-if/"
    assert "nothing to try these terms on" in text_of(client.post(at, typed()))
    busy(everybody, minutes_ago(4))
    text = text_of(client.post(at, typed(burst_concurrency="1")))
    assert "On 8 requests" in text and "would have refused 3" in text and "Eve in chat-8b 3" in text
    assert "Correct the terms first" in text_of(client.post(at, typed(burst_concurrency="x")))
    assert not ShadowMinute.objects.exists(), "a trial leaves nothing behind"


def test_what_if_is_bounded(everybody: Everybody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.services.what_if.MOST_ROWS", 3 * 60)
    found = tier_what_if(elastic(), NARROW, now())
    assert found.end - found.start == timedelta(minutes=60) and not found.whole
    monkeypatch.setattr("billing.services.what_if.MOST_ROWS", 1)
    assert tier_what_if(elastic(), NARROW, now()).end - found.end == timedelta(0)
