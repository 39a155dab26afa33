"""The vectorised tick writes what the plain one writes, for any shard, in both modes and both fills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.mechanism.worlds import World, row0, worlds

NAMES = ("assured", "bucket_size", "weight", "debt", "burst", "demand", "kept", "holds")


def assert_equal(world: World) -> None:
    fast, slow = world.fast(), world.slow()
    for name in NAMES:
        expected = np.array([getattr(one, name) for one in slow]).reshape(getattr(fast, name).shape)
        got = getattr(fast, name)
        if name == "assured":
            expected, got = expected[:, :2], got[:, :2]
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=2.0 if name == "assured" else 1e-6, err_msg=name)
    expected = np.array([one.stages for one in slow]).reshape(fast.stages.shape)
    np.testing.assert_allclose(fast.stages, expected, rtol=1e-7, atol=1e-4)
    slots = np.array([one.limit[2] for one in slow])
    assert np.all(np.abs(fast.limit[:, 2] - slots) <= 1.0)


@given(worlds(modes=("strict", "paper")))
@settings(max_examples=200, deadline=None)
def test_max_min(world: World) -> None:
    assert_equal(world)


@given(worlds(fills=("drf",)))
@settings(max_examples=120, deadline=None)
def test_drf(world: World) -> None:
    assert_equal(world)


@pytest.mark.parametrize("rotation", range(4))
def test_slots_agree_exactly_where_all_tie(rotation: int) -> None:
    flooded = row0(offered_tokens=9000.0, refused=3.0)
    world = World(((flooded,) * 3, (flooded,) * 5), ((100.0, 1e9, 7.0), (100.0, 1e9, 8.0)), rotation=rotation)
    assert world.fast().limit[:, 2].tolist() == [one.limit[2] for one in world.slow()]


def test_an_empty_shard_ticks() -> None:
    result = World(((), ()), ((10.0, 10.0, 1.0), (0.0, 0.0, 0.0))).fast()
    assert result.limit.shape == (0, 3)
    assert result.hold.tolist() == [[0.0] * 3] * 2
