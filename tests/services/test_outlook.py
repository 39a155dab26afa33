"""What another pool would mean: capacity, promises, limits and replicas before and after, with and without a tick."""

from __future__ import annotations

from copy import copy
from typing import Any

import pytest

from pools.counters.types import CounterUnavailable
from pools.mechanism.amounts import Rate
from pools.models import Pool
from pools.services import outlook as outlooks
from pools.services.outlook import Outlook, capacity_with, capacity_without, pool_outlook
from pools.services.supply import supply_of
from pools.services.tick import shard_tick
from tests.cast import NOW, World, later, pool_make, replica_ready, world_make
from tests.services.conftest import StoreClock


@pytest.fixture
def world(store_clock: StoreClock) -> World:
    made = world_make(2, store_clock.begin)
    for _ in range(3):
        shard_tick(0, [made.pool.pk], store_clock.move(1))
    return made


def looked(world: World, capacity: Rate | None = None, **changes: Any) -> Outlook:
    pool = Pool.objects.select_related("current_profile").get()
    after = copy(pool)
    for name, value in changes.items():
        setattr(after, name, value)
    return pool_outlook(pool, after, later(4), capacity=capacity)


def test_the_same_pool_moves_nobody(world: World) -> None:
    found = looked(world)
    assert (found.known, found.moved, found.below, found.degraded, found.rows) == (True, 0, 0, 0, ())
    assert found.sentence == "Nobody would notice now."
    assert found.wanted_before == found.wanted_after


def test_half_the_capacity_shrinks_those_without_a_promise_first(world: World) -> None:
    pool = Pool.objects.select_related("current_profile").get()
    found = looked(world, capacity_with(pool, 1))
    rows = {row.tenant: row for row in found.rows}
    assert found.degraded == 0 and "Alice" not in rows, "what is reserved stays"
    assert rows["Bob"].limit_after[2] < rows["Bob"].limit_before[2]
    assert found.capacity_after[2] == 16 and found.capacity_before[2] == 32


def test_a_reserved_promise_that_cannot_be_kept_is_named_first(world: World) -> None:
    found = looked(world, Rate(60, 10**9, 4))
    assert found.degraded == 1 and found.rows[0].tenant == "Alice" and found.rows[0].degraded
    assert found.sentence.startswith("1 reserved promise could not be kept")


def test_more_least_replicas_are_wanted_and_cost(world: World, settings: Any) -> None:
    settings.ACCELERATOR_HOUR_PRICE = 2.0
    found = looked(world, min_replicas=3)
    assert (found.wanted_before, found.wanted_after) == (1, 3)
    assert found.cost_change == 2 * 730 * 2.0
    assert found.sentence == "Replicas wanted 1 → 3."


def test_without_a_store_capacity_and_promises_are_still_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> Any:
        raise CounterUnavailable("gone")

    monkeypatch.setattr(outlooks, "counters", away)
    found = looked(world, Rate(60, 10**9, 4))
    assert (found.known, found.degraded, found.wanted_before) == (False, 1, None)
    assert found.notes and "not known right now" in found.notes[0]


def test_a_pool_nothing_is_known_of_is_no_error() -> None:
    pool = pool_make("empty")
    found = pool_outlook(pool, pool, NOW)
    assert (found.known, found.rows, found.capacity_before) == (False, (), (0, 0, 0))


def test_capacity_with_other_numbers_of_replicas() -> None:
    pool = pool_make()
    assert capacity_with(pool, 3) == supply_of(pool).replica.times(3)
    for number in (1, 2):
        replica_ready(pool, number)
    each = supply_of(pool).replica
    assert capacity_with(pool, 1).concurrency == each.concurrency
    assert capacity_with(pool, 4) == each.times(4)
    assert capacity_with(pool, 2, anew=True) == each.times(2)
    assert capacity_without(pool, each) == each
    assert capacity_without(pool, each.times(9)) == Rate(0, 0, 0)
