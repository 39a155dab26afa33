"""Who used whose idle reserve: named cases in one dimension, and what holds for any pools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pools.mechanism.lending import BEYOND, OTHERS, UNPROMISED, Loan, lending, loans, loans_sum
from pools.mechanism.ordering import RANK_OF_CLASS, Floats, Whole

DEDICATED, GUARANTEED, ELASTIC, SPOT, PREEMPTIBLE = range(5)
Row = tuple[int, float, float, float]
"""(class, base, use, hold) in slots."""
FREE, GONE = UNPROMISED, BEYOND


def pairs(rows: list[Row], capacity: float, named: int = 9) -> dict[tuple[int, int], float]:
    """Loans of a pool whose three dimensions all look like its slots; entitlements are numbered from 1."""
    columns = np.array([row[1:] for row in rows], dtype=float).reshape(-1, 3)
    base, use, hold = (np.repeat(columns[:, [i]], 3, axis=1) for i in range(3))
    classes = np.array([row[0] for row in rows], dtype=np.int64)
    limit = np.full((1, 3), capacity)
    found = lending(use, base, hold, classes, np.zeros(len(rows), dtype=np.int64), limit)
    made = loans(found, slice(0, len(rows)), np.arange(1, len(rows) + 1), classes, limit[0], named, 99)
    assert all(loan.amount[0] == loan.amount[1] == loan.amount[2] for loan in made)
    return {(loan.lender, loan.borrower): loan.amount[2] for loan in made}


@pytest.mark.parametrize(
    ("rows", "capacity", "expected"),
    [
        pytest.param([(GUARANTEED, 6, 6, 0), (ELASTIC, 5, 5, 0)], 16, {}, id="everybody at the promise"),
        pytest.param([(GUARANTEED, 6, 2, 0), (SPOT, 0, 5, 0)], 16, {(FREE, 2): 5}, id="unpromised capacity first"),
        pytest.param([(GUARANTEED, 6, 2, 0), (SPOT, 0, 12, 0)], 16, {(FREE, 2): 10, (1, 2): 2}, id="then what is idle"),
        pytest.param([(GUARANTEED, 16, 4, 12), (SPOT, 0, 3, 0)], 16, {(GONE, 2): 3}, id="a reserve held is not lent"),
        pytest.param(
            [(GUARANTEED, 16, 4, 12), (PREEMPTIBLE, 0, 3, 0)], 16, {(1, 2): 3}, id="but to preemptible work it is"
        ),
        pytest.param(
            [(DEDICATED, 16, 4, 12), (PREEMPTIBLE, 0, 3, 0)], 16, {(GONE, 2): 3}, id="a dedicated one lends to nobody"
        ),
        pytest.param(
            [(GUARANTEED, 8, 2, 0), (ELASTIC, 8, 6, 0), (SPOT, 0, 4, 0)],
            16,
            {(1, 3): 3, (2, 3): 1},
            id="owners lend in proportion to what they offer",
        ),
        pytest.param(
            [(ELASTIC, 10, 2, 0), (ELASTIC, 3, 5, 0), (ELASTIC, 3, 9, 0)],
            16,
            {(1, 2): 2, (1, 3): 6},
            id="borrowers share in proportion to their excess",
        ),
        pytest.param(
            [(ELASTIC, 8, 2, 0), (ELASTIC, 4, 8, 0), (SPOT, 0, 9, 0)],
            14,
            {(FREE, 2): 2, (1, 2): 2, (1, 3): 4, (GONE, 3): 5},
            id="the higher rank is served first; the rest is beyond",
        ),
        pytest.param([(DEDICATED, 6, 9, 0), (ELASTIC, 6, 0, 0)], 0, {(2, 1): 3}, id="with no capacity left at all"),
        pytest.param([], 16, {}, id="an empty pool"),
    ],
)
def test_cases(rows: list[Row], capacity: float, expected: dict[tuple[int, int], float]) -> None:
    assert pairs(rows, capacity) == pytest.approx(expected)


def test_only_the_largest_are_named() -> None:
    rows = [(ELASTIC, 9, 0, 0), (ELASTIC, 2, 0, 0), (ELASTIC, 1, 0, 0), (SPOT, 0, 6, 0), (SPOT, 0, 3, 0)]
    found = pairs(rows, 12, named=1)
    assert set(found) == {(1, 4), (1, OTHERS), (OTHERS, 4), (OTHERS, OTHERS)}
    assert sum(found.values()) == pytest.approx(9)
    assert found[1, 4] == pytest.approx(9 * 9 / 12 * 6 / 9)


levels = st.floats(0, 1e6, allow_nan=False).map(lambda value: round(value, 3))
Pools = tuple[Floats, Floats, Floats, Whole, Whole, Floats]


@st.composite
def shards(draw: st.DrawFn) -> Pools:
    """Up to three pools with anybody in them, in any state."""
    sizes = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
    count = sum(sizes)
    use, base, hold = (draw(arrays(np.float64, (count, 3), elements=levels)) for _ in range(3))
    classes = draw(arrays(np.int64, count, elements=st.integers(0, 4)))
    pool = np.repeat(np.arange(len(sizes)), sizes)
    return use, base, hold, classes, pool, draw(arrays(np.float64, (len(sizes), 3), elements=levels))


def close(left: Floats, right: Floats) -> bool:
    return bool(np.allclose(left, right, rtol=1e-9, atol=1e-5))


@given(shards())
def test_every_excess_is_accounted_for_and_nobody_lends_more_than_is_idle(shard: Pools) -> None:
    use, base, _, classes, pool, capacity = shard
    found = lending(*shard)
    excess, idle = np.maximum(0, use - base), np.maximum(0, base - use)
    assert close(found.borrowed + found.free + found.beyond, excess)
    assert (found.lent.sum(axis=0) <= idle + 1e-5).all()
    assert not found.lent[:, classes == DEDICATED].any()
    for p in range(len(capacity)):
        rows = np.flatnonzero(pool == p)
        assert (found.free[rows].sum(axis=0) <= np.maximum(0, capacity[p] - base[rows].sum(axis=0)) + 1e-5).all()
        for rank in range(4):
            mine = [row for row in rows if RANK_OF_CLASS[classes[row]] == rank]
            assert close(found.lent[rank, rows].sum(axis=0), found.borrowed[mine].sum(axis=0)), "lent = borrowed"


@given(shards(), st.integers(1, 4), st.integers(1, 6))
def test_loans_add_up_to_both_sides(shard: Pools, named: int, most: int) -> None:
    found, classes, pool, capacity = lending(*shard), shard[3], shard[4], shard[5]
    for p in range(len(capacity)):
        rows = np.flatnonzero(pool == p)
        span = slice(int(rows[0]), int(rows[-1]) + 1) if rows.size else slice(0, 0)
        made = loans(found, span, rows + 1, classes[span], capacity[p], named, most)
        assert all(loan.lender != loan.borrower or loan.lender < 0 for loan in made), "nobody lends to itself"
        for wanted, lenders in (
            (found.borrowed[span], lambda lender: lender > 0 or lender == OTHERS),
            (found.free[span], lambda lender: lender == UNPROMISED),
            (found.beyond[span], lambda lender: lender == BEYOND),
        ):
            seen = np.array([loan.amount for loan in made if lenders(loan.lender)]).reshape(-1, 3).sum(axis=0)
            assert close(seen, wanted.sum(axis=0))
        summed = loans_sum([(2.0, made), (0.5, made)], most)
        assert close(_whole(summed), 2.5 * _whole(made))
        assert len(summed) <= most + 3 and len(made) <= most + 3


def _whole(made: list[Loan]) -> Floats:
    return np.array([loan.amount for loan in made]).reshape(-1, 3).sum(axis=0)


def test_negative_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        pairs([(SPOT, 0, -1, 0)], 4)
