"""The timeline: every book's events in one list, filtered by kind, each leading to its page; nothing of other pools."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from pools.models import Alert, AlertRule, PoolSample, ScalingDecision, TierVersion
from pools.services.entitlements import entitlement_suspend
from pools.services.pools import pool_change
from pools.services.tier_terms import TierTerms
from pools.services.tiers import tier_publish
from portal.accounts.models import User
from portal.audit.diff import Change
from portal.dashboards.timeline_reads import KINDS, MOST, changed, events, kinds_of
from portal.lib.clock import now
from tests import cast
from tests.cast import OLGA
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
ALL = [key for key, _ in KINDS]


def decide(everybody: Everybody, ago_s: float, before: int = 1, chosen: int = 2) -> None:
    ScalingDecision.objects.create(
        pool=everybody.world.pool, at=now() - timedelta(seconds=ago_s), ready=1, pending=0, before=before, floor=1,
        need=1.7, chosen=chosen, code="up", reason="Demand needs 1.70 replicas.", applied=True,
    )  # fmt: skip


@pytest.fixture
def busy(everybody: Everybody) -> Everybody:
    """Something of every kind in the last minutes; and in another pool, too."""
    world, moment = everybody.world, now()
    decide(everybody, 60)
    decide(everybody, 50, before=2, chosen=2)
    tier_publish(
        actor=OLGA,
        now=moment - timedelta(seconds=40),
        tier_id=world.eve.tier_id,
        terms=TierTerms.of_class("elastic", class_weight=120.0),
        reason="More for elastic.",
    )
    entitlement_suspend(actor=OLGA, now=moment - timedelta(seconds=30), entitlement_id=world.bob.pk, reason="Unpaid.")
    pool_change(actor=OLGA, now=moment - timedelta(seconds=20), pool_id=world.pool.pk, changes={"alpha_debt": 3.0})
    rule = AlertRule.objects.create(name="Room", metric="headroom", below=True, thresholds=[])
    Alert.objects.create(
        rule=rule, pool=world.pool, level="warning", threshold=15, value=9, worst=9, seen_at=moment,
        sentence="9 % free.", since=moment - timedelta(seconds=15), opened_at=moment - timedelta(seconds=10),
        cleared_at=moment,
    )  # fmt: skip
    other = cast.pool_make("embed")
    pool_change(actor=OLGA, now=moment, pool_id=other.pk, changes={"alpha_debt": 2.0})
    return everybody


def test_everything_that_happened_newest_first(busy: Everybody) -> None:
    found, more = events(busy.world.pool, ALL, now() - timedelta(minutes=5))
    assert not more
    assert [event.kind for event in found] == ["alert", "alert", "pool", "entitlement", "tier", "scaling"]
    texts = {event.kind: event for event in found}
    assert texts["scaling"].title == "1 → 2 replicas", "a decision that changed nothing is no event"
    assert "class weight 100 → 120" in texts["tier"].text and "More for elastic." in texts["tier"].text
    assert "bound → suspended" in texts["entitlement"].text and texts["entitlement"].who == "olga@example.org"
    assert not any("embed" in event.title for event in found), "another pool's change is not here"


@pytest.mark.parametrize(("names", "kinds"), [([], ALL), (["tier", "scaling"], ["scaling", "tier"]), (["x"], ALL)])
def test_kinds_from_the_address(names: list[str], kinds: list[str]) -> None:
    assert kinds_of(names) == kinds


@pytest.mark.parametrize("kind", ALL)
def test_one_kind_alone(kind: str, busy: Everybody) -> None:
    found, _ = events(busy.world.pool, [kind], now() - timedelta(minutes=5))
    assert {event.kind for event in found} <= {kind}


def test_every_event_leads_somewhere(busy: Everybody, as_: As) -> None:
    client = as_(busy.ada)
    for event in events(busy.world.pool, ALL, now() - timedelta(minutes=5))[0]:
        assert client.get(event.url).status_code == 200, event


def test_a_version_without_a_record_is_told_once(busy: Everybody) -> None:
    tier = busy.world.eve.tier
    TierVersion.objects.create(
        tier=tier, number=77, class_weight=90, effective_from=now() - timedelta(seconds=5), author_label="import"
    )
    found, _ = events(busy.world.pool, ["tier"], now() - timedelta(minutes=5))
    assert [event.title for event in found] == ["elastic version 77", "elastic publish"]


def test_the_page_filters_and_counts(busy: Everybody, as_: As) -> None:
    client = as_(busy.ada)
    answer = client.get("/timeline/?pool=chat-8b&range=15m")
    assert answer.context["sentence"].startswith("In the last 15 minutes: 0 requests were refused; 1 scaling decision")
    assert len(answer.context["events"]) == 6 and not answer.context["filtered"]
    only = client.get("/timeline/?pool=chat-8b&range=15m&kind=alert&kind=tier")
    assert {event.kind for event in only.context["events"]} == {"alert", "tier"} and only.context["filtered"]
    none = client.get("/timeline/?pool=chat-8b&kind=endpoint").content.decode()
    assert "Nothing of these kinds happened" in none and "Show every kind" in none
    assert client.get("/timeline/").context["pool"].slug == "chat-8b", "the tightest pool without a choice"
    assert client.get("/timeline/?pool=none").status_code == 404


def test_the_figure_has_a_strip_for_each_book(busy: Everybody, as_: As) -> None:
    sample = {"capacity": [1, 1, 1], "promised": [1, 1, 1], "use": [0, 0, 0], "hold": [0, 0, 0]}
    PoolSample.objects.create(
        at=now() - timedelta(seconds=30), pool_id=busy.world.pool.pk, ready=1, pending=0, wanted=2, contended=False,
        lag_ms=0, refused={"kv_budget": 3}, **sample,
    )  # fmt: skip
    found = as_(busy.ada).get("/timeline/chat-8b/figure/?range=15m").json()
    by_role: dict[str, set[str]] = {}
    for trace in found["timeline"]["data"]:
        by_role.setdefault(trace["meta"]["role"], set()).add(trace.get("yaxis", "y"))
    assert by_role["event"] == {"y"} and by_role["refused"] == {"y2"} and by_role["headroom"] == {"y3"}
    assert by_role["ready"] == {"y5"} and "decision" not in by_role
    marks = {t["meta"]["kind"]: t for t in found["timeline"]["data"] if t["meta"]["role"] == "event"}
    oldest = events(busy.world.pool, ALL, now() - timedelta(minutes=5))[0][-1]
    assert marks["scaling"]["ids"] == [oldest.key] and len(marks["alert"]["x"]) == 2
    domains = [found["timeline"]["layout"][f"yaxis{n}"]["domain"] for n in ("", 2, 3, 4, 5)]
    assert all(low < high for low, high in domains) and domains == sorted(domains, reverse=True)


def test_many_events_are_cut_and_said_to_be(everybody: Everybody, as_: As) -> None:
    for number in range(MOST + 5):
        decide(everybody, number / 10, before=1 + number % 2, chosen=2 - number % 2)
    answer = as_(everybody.ada).get("/timeline/?pool=chat-8b")
    assert len(answer.context["events"]) == MOST and answer.context["more"]
    assert "more than 200 events" in answer.content.decode()


def test_queries_do_not_grow_with_events(busy: Everybody, as_: As, django_assert_max_num_queries: Any) -> None:
    client = as_(busy.ada)
    client.get("/timeline/?pool=chat-8b")
    with django_assert_max_num_queries(12):
        client.get("/timeline/?pool=chat-8b")


def test_a_change_in_one_line() -> None:
    one, two = Change("class_weight", "changed", "100", "120"), Change("slug", "added", "", "x")
    assert changed([one, two], "Because.") == "class weight 100 → 120, slug x · Because."
    assert changed([one] * 5, "").endswith("and 2 more")
    assert changed([], "Only a reason.") == "Only a reason."
    assert changed([Change("burst", "changed", "2.000", "2.0")], "") == "", "the same number"


def test_an_open_page_asks_for_what_is_new(busy: Everybody, as_: As) -> None:
    client = as_(busy.ada)
    decide(busy, 600, before=4, chosen=5)
    shown = client.get("/timeline/?pool=chat-8b&range=15m").content.decode()
    found = client.get("/timeline/chat-8b/events/?range=15m").json()
    assert len(found["markers"]) == 6, "of the last two minutes"
    assert found["sentence"].startswith("In the last 15 minutes: 0 requests were refused; 2 scaling decisions")
    for key, at_ms, kind, words in found["markers"]:
        assert f'id="event-{key}"' in shown and f'id="event-{key}"' in found["html"], "the page knows what it has"
        assert kind in ALL and words and at_ms > 0
    assert "<html" not in found["html"] and "4 → 5" not in found["html"]
    only = client.get("/timeline/chat-8b/events/?range=15m&kind=tier").json()
    assert {kind for _, _, kind, _ in only["markers"]} == {"tier"}
    assert client.get("/timeline/none/events/").status_code == 404
