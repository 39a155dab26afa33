"""The fill is weighted max-min fair, the array version equals it, and whole slots add up."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.mechanism import limits_arrays
from pools.mechanism.limits import dominant_share, fill, fill_drf, whole_slots
from pools.mechanism.limits_arrays import Groups, fill_groups, fill_groups_drf, whole_slot_groups

rooms = st.integers(0, 40).map(float)
pulls = st.sampled_from([0.0, 0.1, 1.0, 2.5, 100.0, 1000.0])
asks = st.lists(st.tuples(rooms, pulls), max_size=9)
debts = st.floats(-1, 1).map(lambda value: round(value, 3))


@pytest.mark.parametrize(
    ("room", "weight", "left", "expected"),
    [
        pytest.param([10, 10], [1, 1], 12, [6, 6], id="equal halves"),
        pytest.param([10, 10], [3, 1], 12, [9, 3], id="by weight"),
        pytest.param([2, 10, 10], [1, 1, 1], 12, [2, 5, 5], id="the small one is full, the rest shares"),
        pytest.param([2, 10, 10], [1, 3, 1], 10, [2, 6, 2], id="full just in time"),
        pytest.param([4, 4], [1, 1], 100, [4, 4], id="plenty"),
        pytest.param([4, 4], [1, 1], 0, [0, 0], id="nothing left"),
        pytest.param([4, 4], [0, 1], 6, [0, 4], id="no weight, nothing"),
        pytest.param([], [], 5, [], id="nobody"),
    ],
)
def test_fill(room: list[float], weight: list[float], left: float, expected: list[float]) -> None:
    assert fill(room, weight, left) == pytest.approx(expected)


@given(asks, st.floats(0, 200))
def test_fill_is_weighted_max_min_fair(asked: list[tuple[float, float]], left: float) -> None:
    """I4: never more than there is, all of it when wanted, and nobody below its room lies under another's level."""
    room, weight = [row[0] for row in asked], [row[1] for row in asked]
    given_ = fill(room, weight, left)
    wanted = sum(r for r, w in asked if w > 0)
    assert sum(given_) == pytest.approx(min(left, wanted), abs=1e-6)
    for amount, space, pull in zip(given_, room, weight, strict=True):
        assert 0 <= amount <= space
        if pull > 0 and amount < space - 1e-6:
            levels = [a / w for a, w in zip(given_, weight, strict=True) if w > 0]
            assert amount / pull >= max(levels) - 1e-6 * max(1.0, max(levels))


@st.composite
def shards(draw: st.DrawFn) -> tuple[list[list[tuple[float, float, float]]], list[float]]:
    rows = st.lists(st.tuples(rooms, pulls, debts), max_size=8)
    pools = draw(st.lists(rows, min_size=1, max_size=5))
    return pools, [draw(st.floats(0, 120)) for _ in pools]


def _grouped(pools: list[list[tuple[float, float, float]]]) -> tuple[Groups, np.ndarray]:
    member = np.array([p for p, rows in enumerate(pools) for _ in rows], dtype=np.int64)
    return Groups.of(member, np.ones(member.size, dtype=np.bool_)), np.array([row for rows in pools for row in rows])


@pytest.mark.parametrize("rounds", [0, 1, 24], ids=["sorted only", "one round, then sorted", "as it runs"])
@given(shard=shards())
@settings(max_examples=60, deadline=None)
def test_array_fill_equals_the_plain_one(
    rounds: int, shard: tuple[list[list[tuple[float, float, float]]], list[float]]
) -> None:
    pools, left = shard
    groups, flat = _grouped(pools)
    if not flat.size:
        return
    expected = [a for rows, has in zip(pools, left, strict=True) for a in fill(*_columns(rows), has)]
    with patch.object(limits_arrays, "ROUNDS_BEFORE_SORT", rounds):
        got = fill_groups(flat[:, 0][None], flat[:, 1][None], np.array(left)[None][:, groups.pools], groups)
    np.testing.assert_allclose(got[0], expected, rtol=1e-9, atol=1e-7)


def _columns(rows: list[tuple[float, float, float]]) -> tuple[list[float], list[float]]:
    return [row[0] for row in rows], [row[1] for row in rows]


@given(shard=shards(), rotation=st.integers(0, 12))
@settings(max_examples=120, deadline=None)
def test_array_slots_equal_the_plain_ones(
    shard: tuple[list[list[tuple[float, float, float]]], list[float]], rotation: int
) -> None:
    pools, left = shard
    groups, flat = _grouped(pools)
    if not flat.size:
        return
    shares = [fill(*_columns(rows), has) for rows, has in zip(pools, left, strict=True)]
    expected = [
        slot
        for rows, share in zip(pools, shares, strict=True)
        for slot in whole_slots(share, [row[2] for row in rows], rotation)
    ]
    amount = np.array([a for share in shares for a in share])
    assert whole_slot_groups(amount, flat[:, 2], rotation, groups).tolist() == expected


@pytest.mark.parametrize(
    ("amount", "debt", "rotation", "expected"),
    [
        pytest.param([2.6, 1.4], [0, 0], 0, [3, 1], id="largest remainder"),
        pytest.param([1.5, 1.5], [0, 0.4], 0, [1, 2], id="a tie goes to who is owed more"),
        pytest.param([0.5, 0.5], [0, 0], 0, [1, 0], id="then in turn: first"),
        pytest.param([0.5, 0.5], [0, 0], 1, [0, 1], id="then in turn: second"),
        pytest.param([3.0, 2.0], [0, 0], 5, [3, 2], id="whole already"),
        pytest.param([2.9999999999, 1.0], [0, 0], 0, [3, 1], id="rounding noise is whole"),
        pytest.param([0.4, 0.4], [0, 0], 0, [0, 0], id="not enough for one"),
    ],
)
def test_whole_slots(amount: list[float], debt: list[float], rotation: int, expected: list[int]) -> None:
    assert whole_slots(amount, debt, rotation) == expected


@given(st.lists(st.tuples(st.floats(0, 30), debts), max_size=9), st.integers(0, 20))
def test_whole_slots_lose_nothing_and_move_nobody_far(rows: list[tuple[float, float]], rotation: int) -> None:
    amounts = [row[0] for row in rows]
    slots = whole_slots(amounts, [row[1] for row in rows], rotation)
    assert sum(slots) == int(sum(amounts) + 1e-6)
    assert all(abs(slot - amount) < 1 + 1e-5 for slot, amount in zip(slots, amounts, strict=True))


def test_ties_go_round() -> None:
    """Over as many ticks as there are tied tenants, each gets the odd slot equally often."""
    won = np.sum([whole_slots([1.25] * 4, [0.0] * 4, rotation) for rotation in range(8)], axis=0)
    assert won.tolist() == [10, 10, 10, 10]


CAPACITY = (240.0, 1600.0, 16.0)


@pytest.mark.parametrize(
    ("room", "weight", "expected"),
    [
        # A wants 240/100/1 (tokens), B wants 24/1600/1 (KV): dominant shares meet at t + 0.1 t = 1
        pytest.param([(240, 100, 1), (24, 1600, 1)], [1, 1], [10 / 11, 1 / 1.0625], id="two dominant dimensions"),
        pytest.param([(240, 0, 16), (240, 0, 16)], [3, 1], [0.75, 0.25], id="one dimension, by weight"),
        pytest.param([(60, 0, 4), (240, 0, 16)], [1, 1], [0.25, 0.75], id="the small one is full"),
        pytest.param([(0, 0, 0), (240, 0, 16)], [1, 1], [0.0, 1.0], id="who wants nothing"),
    ],
)
def test_fill_drf(room: list[tuple[float, ...]], weight: list[float], expected: list[float]) -> None:
    amounts = fill_drf(room, weight, CAPACITY, CAPACITY)
    shares = [dominant_share(row, CAPACITY) for row in amounts]
    assert shares[0] == pytest.approx(expected[0], abs=0.04)
    assert sum(shares) == pytest.approx(sum(expected), abs=0.09)


wants = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 2000), st.integers(0, 20), st.sampled_from([0.5, 1, 4])),
    min_size=1,
    max_size=6,
)


@given(wants)
@settings(max_examples=150, deadline=None)
def test_drf_is_fair_on_the_dimension_that_stops_each(rows: list[tuple[float, ...]]) -> None:
    """Within capacity; who is not full uses an exhausted dimension, and nobody using it stands on a higher level."""
    room, weight = [tuple(float(v) for v in row[:3]) for row in rows], [float(row[3]) for row in rows]
    amounts = fill_drf(room, weight, CAPACITY, CAPACITY)
    totals = [sum(row[d] for row in amounts) for d in range(3)]
    assert all(total <= has * (1 + 1e-9) for total, has in zip(totals, CAPACITY, strict=True))
    full = [d for d in range(3) if totals[d] >= CAPACITY[d] * (1 - 1e-9)]
    levels = [dominant_share(row, CAPACITY) / w for row, w in zip(amounts, weight, strict=True)]
    for i, row in enumerate(room):
        if any(wanted - got > 1e-6 * max(1, wanted) for wanted, got in zip(row, amounts[i], strict=True)):
            stops = [d for d in full if row[d] > 0]
            assert stops
            assert any(levels[i] >= max(levels[j] for j in range(len(room)) if room[j][d] > 0) - 1e-6 for d in stops)
    groups = Groups.of(np.zeros(len(room), dtype=np.int64), np.ones(len(room), dtype=np.bool_))
    column = np.array(CAPACITY)[:, None]
    fast = fill_groups_drf(np.array(room).T, np.array(weight), column, column, groups)
    np.testing.assert_allclose(fast.T, amounts, rtol=1e-7, atol=1e-5)


def test_many_levels_in_one_pool() -> None:
    """Levels spread over forty powers of two, the worst case for rounds, still equal the plain fill."""
    weight = [2.0**-k for k in range(40)]
    room = [1.0] * 40
    groups = Groups.of(np.zeros(40, dtype=np.int64), np.ones(40, dtype=np.bool_))
    for left in (0.5, 3.0, 20.5, 39.0):
        got = fill_groups(np.array([room]), np.array([weight]), np.array([[left]]), groups)[0]
        np.testing.assert_allclose(got, fill(room, weight, left), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("wrong", [([-1], [1], 1), ([1], [-1], 1), ([1], [1], -1)])
def test_negative_input_is_refused(wrong: tuple[list[float], list[float], float]) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        fill(*wrong)
