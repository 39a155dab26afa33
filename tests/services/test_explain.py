"""Explanations follow the tick that was: same weight, same limit, same debt; and say what a request would meet."""

from __future__ import annotations

from typing import Any

import pytest

from pools.choices import Refusal
from pools.counters.types import Ask
from pools.models import Entitlement
from pools.selectors.explain import ASKED_KEY, KEPT_S, record_key, records_read
from pools.services.configuring import counters_configure
from pools.services.entitlements import entitlement_suspend
from pools.services.explain import explain
from pools.services.store import counters
from pools.services.tick import ShardTick, shard_tick
from portal.lib.hot import hot
from tests.cast import KV_TOKEN, NOW, OLGA, World, world_make
from tests.services.conftest import StoreClock

USUAL = (128.0, 128.0 * KV_TOKEN, 1.0)


@pytest.fixture
def world(store_clock: StoreClock) -> World:
    return world_make(begin=store_clock.begin)


def fresh(row: Entitlement) -> Entitlement:
    return Entitlement.objects.select_related("pool__current_profile", "tenant", "tier__current").get(pk=row.pk)


def ask(row: Entitlement, request_id: str, tokens: int = 128) -> bool:
    return bool(counters().reserve(Ask(row.pool_id, row.pk, request_id, tokens, tokens * KV_TOKEN)).admitted)


def run(world: World, clock: StoreClock, seconds: int, each: Any = None) -> ShardTick:
    for second in range(seconds):
        moment = clock.move(1)
        if each is not None:
            each(second)
        done = shard_tick(0, [world.pool.pk], moment)
    return done


def crowd(world: World) -> None:
    for number in range(6):
        ask(world.alice, f"a{number}")
    for number in range(16):
        ask(world.bob, f"b{number}", 64)


def test_what_is_told_is_what_the_tick_wrote(world: World, store_clock: StoreClock) -> None:
    crowd(world)
    done = run(world, store_clock, 10, lambda second: ask(world.eve, f"e{second}", 512))
    (result,) = done.results
    for place, row in enumerate((world.alice, world.eve, world.bob)):
        told = explain(fresh(row), USUAL, store_clock.at_ms)
        assert told.weight is not None and told.limits is not None and told.debt is not None
        assert told.debt_at_ms is not None and told.at_ms == told.debt_at_ms, "every tick is kept only when asked for"
        assert told.weight.weight == pytest.approx(
            told.weight.class_weight / told.weight.slo_term / told.weight.burst_term * told.weight.debt_term
        )
        assert told.debt.debt == result.result.debt[place], "no debt step since"
        assert told.members == 3
    assert told.limits.rank == 2 and not told.debt.applies


def test_a_pool_that_is_asked_for_keeps_every_tick(world: World, store_clock: StoreClock) -> None:
    run(world, store_clock, 6)
    first = explain(fresh(world.eve), USUAL, store_clock.at_ms)
    done = run(world, store_clock, 2)
    told = explain(fresh(world.eve), USUAL, store_clock.at_ms)
    assert first.at_ms is not None and told.at_ms == store_clock.at_ms
    assert told.limits is not None and told.weight is not None
    (result,) = done.results
    assert list(told.limits.assured) == result.result.assured[1].tolist(), "to the last bit"
    assert told.weight.weight == result.result.weight[1]
    store_clock.move(120)
    run(world, store_clock, 2)
    latest = records_read(world.pool.pk).latest
    assert latest is not None and latest.given.debt_step, "nobody asked within the last minute"
    assert 0 < hot().ttl(record_key(world.pool.pk, debt_step=True)) <= KEPT_S
    assert hot().zcard(ASKED_KEY) == 1


def test_the_admission_told_is_the_admission_met(world: World, store_clock: StoreClock) -> None:
    run(world, store_clock, 1)
    told = explain(fresh(world.alice), USUAL, store_clock.at_ms).admission
    assert told is not None and told.admitted and told.steps[-1].number == 6, "within its reserve"
    for number in range(6):
        assert ask(world.alice, f"a{number}", 64)
    told = explain(fresh(world.alice), USUAL, store_clock.at_ms).admission
    assert told is not None and told.code == Refusal.CONCURRENCY
    assert not ask(world.alice, "one more")


def test_a_usual_request_is_taken_from_the_profile_where_none_was_served(world: World, store_clock: StoreClock) -> None:
    told = explain(fresh(world.eve), (256.0, 0.0, 1.0), store_clock.at_ms)
    assert told.ask is not None and (told.ask.tokens, told.ask.kv_bytes) == (128, 128 * KV_TOKEN)


def test_before_the_first_tick_and_after_a_lost_store_nothing_is_made_up(world: World, store_clock: StoreClock) -> None:
    told = explain(fresh(world.eve), USUAL, store_clock.at_ms)
    assert (told.weight, told.limits, told.debt, told.at_ms) == (None, None, None, None)
    hot().set(record_key(world.pool.pk, debt_step=True), b"of another make")
    assert records_read(world.pool.pk).latest is None
    hot().flushall()
    assert explain(fresh(world.eve), USUAL, store_clock.at_ms).admission is None


def test_who_is_suspended_is_refused_at_the_first_step(world: World, store_clock: StoreClock) -> None:
    entitlement_suspend(actor=OLGA, now=NOW, entitlement_id=world.eve.pk, reason="x")
    counters_configure(world.pool.pk, NOW)
    run(world, store_clock, 6)
    told = explain(fresh(world.eve), USUAL, store_clock.at_ms)
    assert told.admission is not None and told.admission.code == Refusal.SUSPENDED
    assert told.limits is not None and not told.limits.bound


def test_the_literal_formulas_are_told_as_such(world: World, store_clock: StoreClock, settings: Any) -> None:
    settings.MECHANISM_MODE = "paper"
    run(world, store_clock, 6)
    told = explain(fresh(world.eve), USUAL, store_clock.at_ms)
    assert told.literal and told.limits is None and told.debt is None and told.weight is not None
