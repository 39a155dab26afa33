"""The tick against real stores."""

from __future__ import annotations

import orjson
import pytest

from pools.services.store import counters
from pools.services.tick import shard_tick
from portal.lib.hot import hot
from tests.cast import NOW, World, world_make


@pytest.fixture
def world() -> World:
    return world_make()


def test_everybody_is_bound_when_a_replica_is_ready(world: World) -> None:
    assert [row.state for row in (world.alice, world.eve, world.bob)] == ["bound"] * 3


def test_a_tick_writes_limits_and_shows_them(world: World) -> None:
    done = shard_tick(0, [world.pool.pk], NOW)
    assert (done.pools, done.entitlements) == (1, 3)
    live = orjson.loads(hot().get(f"tp:live:{world.pool.pk}"))  # type: ignore[arg-type]
    assert [row[0] for row in live["rows"]] == [world.alice.pk, world.eve.pk, world.bob.pk]
    assert live["pool"]["capacity"][2] == 16
    snapshot = counters().snapshot(world.pool.pk)
    assert snapshot.column("limit_seats").sum() <= 16
    print(live)
