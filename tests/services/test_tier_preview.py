"""The preview says what the tick will write, writes nothing itself, and its token is refused once the state moved."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pools.counters.types import Ask
from pools.models import Entitlement, Tier, TierVersion
from pools.selectors.live import live_latest
from pools.services.configuring import counters_configure
from pools.services.entitlements import entitlement_change
from pools.services.preview import tier_preview
from pools.services.preview_types import Preview, PreviewRow
from pools.services.store import counters
from pools.services.tick import shard_tick
from pools.services.tiers import TierTerms, tier_publish
from portal.accounts.models import Tenant
from portal.audit.models import AuditRecord
from portal.lib.errors import DomainError
from portal.lib.hot import hot
from tests.cast import KV_TOKEN, NOW, OLGA, World, replica_ready, tier_make, world_make
from tests.services.conftest import StoreClock

SMALLER = {"burst_tokens": Decimal(1), "burst_kv": Decimal(1), "burst_concurrency": Decimal(1), "class_weight": 20.0}


@pytest.fixture
def world(store_clock: StoreClock) -> World:
    return world_make(begin=store_clock.begin)


@pytest.fixture
def at_once(world: World, request: pytest.FixtureRequest) -> None:
    """Deeds after this one reach the hot store at once."""
    request.getfixturevalue("commits")


def busy(world: World, clock: StoreClock, seconds: int = 8) -> None:
    """Eve and Bob ask for more than there is."""
    for second in range(seconds):
        moment = clock.move(1)
        for number in range(4):
            for row in (world.eve, world.bob):
                counters().reserve(Ask(row.pool_id, row.pk, f"{row.pk}-{second}-{number}", 128, 128 * KV_TOKEN))
        shard_tick(0, [world.pool.pk], moment)


def elastic() -> Tier:
    return Tier.objects.select_related("current").get(slug="elastic")


def row_for(preview: Preview, entitlement: Any) -> PreviewRow:
    return next(row for row in preview.rows if row.entitlement_id == entitlement.pk)


@pytest.mark.usefixtures("at_once")
def test_the_next_tick_writes_what_the_preview_said(world: World, store_clock: StoreClock) -> None:
    busy(world, store_clock)
    terms = TierTerms.of_class("elastic", **SMALLER)
    moment = store_clock.move(1)
    preview = tier_preview(elastic(), terms, moment)
    tier_publish(actor=OLGA, now=moment, tier_id=world.eve.tier_id, terms=terms, preview_token=preview.token)
    shard_tick(0, [world.pool.pk], moment)
    shown = {row[0]: row for row in orjson.loads(live_latest([world.pool.pk])[world.pool.pk])["rows"]}
    for row in preview.rows:
        assert row.limit_after == pytest.approx(shown[row.entitlement_id][3], rel=1e-3), row.tenant
        assert row.headroom_after == pytest.approx(shown[row.entitlement_id][12], abs=0.01, rel=1e-3)
        assert row.weight_after == pytest.approx(shown[row.entitlement_id][6], abs=0.001)
    eve = row_for(preview, world.eve)
    assert eve.mine and eve.limit_before != eve.limit_after
    assert preview.moved >= 1 and preview.pools[0].ceilings_after < preview.pools[0].ceilings_before


def test_it_names_who_falls_below_present_use(world: World, store_clock: StoreClock) -> None:
    taken = [
        counters().reserve(Ask(world.pool.pk, world.eve.pk, f"e{n}", 128, 128 * KV_TOKEN)).admitted for n in range(8)
    ]
    assert all(taken)
    store_clock.move(1)
    shard_tick(0, [world.pool.pk], NOW)
    store_clock.move(1)
    preview = tier_preview(elastic(), TierTerms.of_class("elastic", **SMALLER), NOW)
    eve = row_for(preview, world.eve)
    assert eve.use[2] == 8 and eve.limit_after[2] == 5
    assert preview.below == 1 and 2 in eve.below
    assert preview.rows[0].entitlement_id == world.eve.pk, "who loses comes first"


def test_it_writes_nothing(world: World, store_clock: StoreClock) -> None:
    busy(world, store_clock, 2)
    before = (hot().dbsize(), hot().get("tp:tick:0:state"), AuditRecord.objects.count(), TierVersion.objects.count())
    with CaptureQueriesContext(connection) as seen:
        tier_preview(elastic(), TierTerms.of_class("elastic", slo_ms=5), NOW)
    assert all(query["sql"].lstrip().upper().startswith("SELECT") for query in seen.captured_queries)
    assert len(seen) <= 12
    assert before == (
        hot().dbsize(), hot().get("tp:tick:0:state"), AuditRecord.objects.count(), TierVersion.objects.count()
    )  # fmt: skip


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("deed", ["entitlement", "replica", "other tier", "state"])
def test_a_token_whose_state_moved_is_refused(world: World, store_clock: StoreClock, deed: str) -> None:
    terms = TierTerms.of_class("elastic", slo_ms=700)
    token = tier_preview(elastic(), terms, NOW).token
    if deed == "entitlement":
        changes = {"cap_concurrency": 9, "cap_kv_bytes": 10**12, "cap_tokens_per_second": 900}
        entitlement_change(actor=OLGA, now=NOW, entitlement_id=world.bob.pk, changes=changes)
    elif deed == "replica":
        replica_ready(world.pool, 7)
    elif deed == "state":
        type(world.bob).objects.filter(pk=world.bob.pk).update(state="suspended")
    else:
        tier_publish(actor=OLGA, now=NOW, tier_id=world.bob.tier_id, terms=TierTerms.of_class("spot", slo_ms=9))
    with pytest.raises(DomainError, match="moved after the preview") as refused:
        tier_publish(actor=OLGA, now=NOW, tier_id=world.eve.tier_id, terms=terms, preview_token=token)
    assert (refused.value.code, refused.value.status) == ("preview_stale", 409)
    assert elastic().current.number == 1
    fresh = tier_preview(elastic(), terms, NOW).token
    assert tier_publish(actor=OLGA, now=NOW, tier_id=world.eve.tier_id, terms=terms, preview_token=fresh).number == 2


def test_counters_alone_do_not_move_the_state(world: World, store_clock: StoreClock) -> None:
    terms = TierTerms.of_class("elastic", slo_ms=700)
    token = tier_preview(elastic(), terms, NOW).token
    busy(world, store_clock, 3)
    assert tier_publish(actor=OLGA, now=NOW, tier_id=world.eve.tier_id, terms=terms, preview_token=token).number == 2


@pytest.mark.parametrize("token", ["", "forged", None])
def test_terms_that_were_not_previewed_are_refused(world: World, token: str | None) -> None:
    seen = TierTerms.of_class("elastic", slo_ms=700)
    given = tier_preview(elastic(), seen, NOW).token if token is None else token
    other = TierTerms.of_class("elastic", slo_ms=701)
    with pytest.raises(DomainError) as refused:
        tier_publish(actor=OLGA, now=NOW, tier_id=world.eve.tier_id, terms=other, preview_token=given)
    assert refused.value.code == "preview_missing"


def test_without_a_tick_it_says_so() -> None:
    world_make()
    preview = tier_preview(elastic(), TierTerms.of_class("elastic", slo_ms=5), NOW)
    assert preview.known and any("No tick has run in chat-8b" in note for note in preview.notes)
    hot().flushall()
    preview = tier_preview(elastic(), TierTerms.of_class("elastic", slo_ms=5), NOW)
    assert any("no live figures yet" in note for note in preview.notes), preview.notes
    assert preview.token


def test_a_tier_nobody_lives_under_changes_nothing(world: World) -> None:
    preview = tier_preview(tier_make("elastic", "lonely"), TierTerms.of_class("elastic", slo_ms=5), NOW)
    assert (preview.entitlements, preview.rows, preview.pools, preview.known) == (0, (), (), True)
    assert preview.token


def test_replicas_and_their_cost(world: World, store_clock: StoreClock, settings: Any) -> None:
    """A higher ceiling buys replicas: more of what Eve asks for counts."""
    settings.ACCELERATOR_HOUR_PRICE = 2.0
    for second in range(12):
        moment = store_clock.move(1)
        for number in range(16):
            counters().reserve(Ask(world.pool.pk, world.eve.pk, f"{second}-{number}", 128, 128 * KV_TOKEN))
        shard_tick(0, [world.pool.pk], moment)
    wider = {name: Decimal(6) for name in ("burst_tokens", "burst_kv", "burst_concurrency")}
    preview = tier_preview(elastic(), TierTerms.of_class("elastic", **wider), store_clock.move(1))
    more = preview.wanted_after - preview.wanted_before
    assert more > 0
    assert preview.cost_change == pytest.approx(more * 730 * 2.0)
    settings.ACCELERATOR_HOUR_PRICE = 0.0
    preview = tier_preview(elastic(), TierTerms.of_class("elastic", **wider), store_clock.move(0))
    assert preview.cost_change is None and preview.accelerator_hours_change == pytest.approx(more * 730)


def test_what_it_says_about_debt(world: World, store_clock: StoreClock) -> None:
    busy(world, store_clock)
    preview = tier_preview(elastic(), TierTerms.of_class("elastic", **SMALLER), store_clock.move(1))
    eve = row_for(preview, world.eve)
    assert eve.heading_after >= eve.heading_before or eve.debt_words in {"unchanged", "owed ↓"}
    assert eve.debt_words in {"owed ↑", "owed ↓", "unchanged"}


def test_a_crowd_is_bounded(world: World, store_clock: StoreClock) -> None:
    """Of a hundred that move the most important ones are listed, in as many queries as for one."""
    tenants = Tenant.objects.bulk_create(Tenant(slug=f"t{number}", name=f"T{number}") for number in range(100))
    Entitlement.objects.bulk_create(
        Entitlement(
            slug=f"t{number}-chat", tenant=tenant, pool=world.pool, tier_id=world.eve.tier_id, state="bound",
            base_tokens_per_second=15, base_kv_bytes=512 * KV_TOKEN, base_concurrency=1,
        )
        for number, tenant in enumerate(tenants)
    )  # fmt: skip
    counters_configure(world.pool.pk, NOW)
    busy(world, store_clock, 2)
    with CaptureQueriesContext(connection) as seen:
        preview = tier_preview(elastic(), TierTerms.of_class("elastic", class_weight=1.0), store_clock.move(1))
    assert (len(preview.rows), preview.row_count, preview.entitlements) == (60, 101, 101)
    assert len(seen) <= 12
