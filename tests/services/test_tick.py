"""The tick against real stores, with the counters' clock in the test's hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pytest
from django.db import OperationalError

from billing.models import Account
from billing.services.ledger import ledger_post
from pools.counters.types import Ask, Settlement, TickWrite
from pools.models import Entitlement, EntitlementSample, Pool, PoolSample
from pools.selectors.live import ROW, live_for_tenant, live_latest
from pools.services import samples
from pools.services.books import books_answered
from pools.services.configuring import counters_configure
from pools.services.pools import pool_change
from pools.services.store import counters
from pools.services.tick import REFRESHED_IN, ShardTick, shard_tick
from portal.lib.hot import hot
from tests.cast import KV_TOKEN, NOW, OLGA, World, pool_make, replica_ready, world_make
from tests.services.conftest import StoreClock


@pytest.fixture
def world(store_clock: StoreClock) -> World:
    return world_make(begin=store_clock.begin)


def ask(row: Entitlement, request_id: str, tokens: int = 128) -> bool:
    made = counters().reserve(Ask(row.pool_id, row.pk, request_id, tokens, tokens * KV_TOKEN))
    return bool(made.admitted)


def live(pool: Pool) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(live_latest([pool.pk])[pool.pk])
    return found


def row_of(pool: Pool, entitlement: Entitlement) -> dict[str, Any]:
    row = next(row for row in live(pool)["rows"] if row[0] == entitlement.pk)
    return dict(zip(ROW, row, strict=True))


def run(world: World, clock: StoreClock, seconds: int, each: Any = None) -> list[ShardTick]:
    """One tick a second."""
    done = []
    for second in range(seconds):
        moment: datetime = clock.move(1)
        if each is not None:
            each(second)
        done.append(shard_tick(0, [world.pool.pk], moment))
    return done


def test_a_tick_writes_limits_and_shows_them(world: World, store_clock: StoreClock) -> None:
    (done,) = run(world, store_clock, 1)
    assert (done.pools, done.entitlements) == (1, 3)
    shown = live(world.pool)
    assert [row[0] for row in shown["rows"]] == [world.alice.pk, world.eve.pk, world.bob.pk]
    assert shown["pool"]["capacity"][2] == 16
    assert shown["pool"]["promised"][2] == 11
    snapshot = counters().snapshot(world.pool.pk)
    assert 0 < snapshot.column("limit_seats").sum() <= 16


def test_a_limit_that_stays_is_written_again_in_its_turn_and_after_a_publication(
    world: World, store_clock: StoreClock
) -> None:
    def kept() -> dict[int, float]:
        shot = counters().snapshot(world.pool.pk)
        return dict(zip(shot.entitlement_ids.tolist(), shot.column("limit_seats").tolist(), strict=True))

    def lose() -> None:
        """As a replica that had not heard of the last write."""
        row = TickWrite([world.alice.pk], [1], [1], [1], [1], [1])
        counters().write_tick(world.pool.pk, row)

    run(world, store_clock, 2)
    right = kept()
    healed = []
    for _ in range(REFRESHED_IN):
        lose()
        run(world, store_clock, 1)
        healed.append(kept()[world.alice.pk] == right[world.alice.pk])
        assert kept()[world.eve.pk] == right[world.eve.pk]
    assert sum(healed) == 1, "in its turn, and only then"
    for _ in range(2):
        lose()
        counters_configure(world.pool.pk, NOW)
        run(world, store_clock, 1)
        assert kept()[world.alice.pk] == right[world.alice.pk], "healed after a publication"


def test_who_is_refused_until_limits_move_is_told_when(world: World, store_clock: StoreClock) -> None:
    run(world, store_clock, 1)
    assert counters().snapshot(world.pool.pk).pool.next_tick_ms == counters().server_now_ms(world.pool.pk) + 1000


def test_use_is_shown_and_sampled_every_five_seconds(world: World, store_clock: StoreClock) -> None:
    for number in range(4):
        assert ask(world.alice, f"a{number}")
    done = run(world, store_clock, 11)
    assert [tick.debt_step for tick in done].count(True) == 2
    assert row_of(world.pool, world.alice)["use"][2] == 4
    newest = EntitlementSample.objects.filter(entitlement_id=world.alice.pk).latest("at")
    assert newest.use_concurrency == pytest.approx(4)
    assert newest.elapsed_s == pytest.approx(5)
    assert PoolSample.objects.filter(pool_id=world.pool.pk).count() == 2


def test_refusals_are_counted_by_reason(world: World, store_clock: StoreClock) -> None:
    run(world, store_clock, 5)
    taken = sum(ask(world.alice, f"a{number}", 64) for number in range(9))
    assert taken == 6
    store_clock.move(1)
    shard_tick(0, [world.pool.pk], NOW)
    shown = live(world.pool)["pool"]["refused"]
    assert shown == {"concurrency": 3}
    assert row_of(world.pool, world.alice)["binds"] == "concurrency"
    run(world, store_clock, 5)
    assert PoolSample.objects.latest("at").refused == {"concurrency": 3}


def test_an_elastic_tenant_served_below_its_promise_is_owed_and_paid_back(
    world: World, store_clock: StoreClock
) -> None:
    """Alice and Bob hold the pool before Eve comes: her debt rises, is posted, and falls when she is served again."""
    for number in range(6):
        assert ask(world.alice, f"a{number}")
    taken = [f"b{number}" for number in range(16) if ask(world.bob, f"b{number}", 64)]
    assert taken

    def knock(second: int) -> None:
        ask(world.eve, f"e{second}", 512)

    run(world, store_clock, 12, knock)
    before = row_of(world.pool, world.eve)
    assert before["debt"] > 0
    assert before["weight"] > row_of(world.pool, world.bob)["weight"]
    posted = ledger_post(store_clock.move(0))
    assert posted.accrued > 0
    assert Account.objects.get(entitlement=world.eve).balance_millitokens == posted.accrued
    for request_id in taken:
        counters().settle(Settlement(world.pool.pk, world.bob.pk, request_id, 64))
    for number in range(10):
        ask(world.eve, f"served{number}", 1024)
    run(world, store_clock, 10)
    assert row_of(world.pool, world.eve)["debt"] < before["debt"]


def test_debts_survive_a_flushed_store(world: World, store_clock: StoreClock) -> None:
    EntitlementSample.objects.create(
        at=NOW,
        entitlement_id=world.eve.pk,
        pool_id=world.pool.pk,
        tenant_id=world.eve.tenant_id,
        elapsed_s=5,
        use_tokens_per_second=0,
        use_kv_bytes=0,
        use_concurrency=0,
        limit_tokens_per_second=0,
        limit_kv_bytes=0,
        limit_concurrency=0,
        demand_tokens_per_second=0,
        weight=1,
        debt=0.4,
        burst=0.25,
        gap_tokens=0,
        admitted=0,
    )
    hot().flushall()
    store_clock.move(5)
    run(world, store_clock, 1)
    shown = row_of(world.pool, world.eve)
    assert (shown["debt"], shown["burst"]) == (pytest.approx(0.4), pytest.approx(0.25))


def test_samples_wait_while_the_books_cannot_be_written(
    world: World, store_clock: StoreClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(world, store_clock, 1)

    def away(*rows: object) -> None:
        raise OperationalError("the server is starting up")

    real = samples._copy
    monkeypatch.setattr(samples, "_copy", away)
    run(world, store_clock, 10)
    assert not EntitlementSample.objects.exists()
    monkeypatch.setattr(samples, "_copy", real)
    books_answered()  # by the first task that asked them again
    run(world, store_clock, 5)
    assert EntitlementSample.objects.filter(entitlement_id=world.eve.pk).count() == 3
    assert not hot().exists(samples.BACKLOG)


def test_two_pools_with_other_factors_tick_together(world: World, store_clock: StoreClock) -> None:
    pool_change(actor=OLGA, now=NOW, pool_id=world.pool.pk, changes={"alpha_debt": 2.0})
    other = pool_make("embed")
    replica_ready(other)
    from pools.services.configuring import counters_configure

    hot().set(f"{{tp:{other.pk}}}:now", store_clock.at_ms)
    counters_configure(other.pk, NOW)
    counters_configure(world.pool.pk, NOW)
    store_clock.move(1)
    done = shard_tick(0, sorted([other.pk, world.pool.pk]), NOW)
    assert (done.pools, done.entitlements) == (2, 3)
    assert live(other)["rows"] == []


def test_a_late_tick_says_how_late(world: World, store_clock: StoreClock) -> None:
    run(world, store_clock, 2)
    store_clock.move(3.5)
    assert shard_tick(0, [world.pool.pk], NOW).lag_ms == 2500


def test_a_tenant_hears_only_of_itself(world: World, store_clock: StoreClock) -> None:
    run(world, store_clock, 1)
    heard = orjson.loads(live_for_tenant(live_latest([world.pool.pk])[world.pool.pk], world.bob.tenant_id))
    assert [row[0] for row in heard["rows"]] == [world.bob.pk]
    assert "promised" not in heard["pool"] and "use" not in heard["pool"]


def test_the_shards_queries_do_not_grow_with_its_ticks(
    world: World, store_clock: StoreClock, django_assert_num_queries: Any
) -> None:
    run(world, store_clock, 2)
    with django_assert_num_queries(0):
        run(world, store_clock, 1)
