"""Weights and precedence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.choices import CLASS_RULES, EntitlementState, ServiceClass
from pools.mechanism.ordering import (
    RANK_OF_CLASS,
    ClassCode,
    StateCode,
    WeightFactors,
    debt_factor,
    outranks,
    weight,
    weights,
)

ratios = st.floats(0, 50)
debts = st.floats(-1, 1)
bursts = st.floats(0, 20)


def test_codes_follow_the_closed_lists() -> None:
    assert [code.name for code in ClassCode] == [member.name for member in ServiceClass]
    assert [code.name for code in StateCode] == [member.name for member in EntitlementState]
    assert [CLASS_RULES[member].rank for member in ServiceClass] == list(RANK_OF_CLASS)


@pytest.mark.parametrize(
    ("debt", "expected"),
    [
        pytest.param(0.0, 1.0, id="even"),
        pytest.param(0.5, 3.0, id="owed half"),
        pytest.param(1.0, 5.0, id="owed all"),
        pytest.param(-0.25, 0.5, id="where the paper's reaches 0"),
        pytest.param(-1.0, 0.2, id="far ahead"),
    ],
)
def test_debt_factor(debt: float, expected: float) -> None:
    assert debt_factor(debt) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("class_weight", "ratio", "burst", "debt", "expected"),
    [
        pytest.param(100, 1.0, 0.0, 0.0, 100 / 3, id="at the mean target"),
        pytest.param(1000, 1.967, 0.0, 0.0, 202.7, id="guaranteed, 30 s target beside 500 ms"),
        pytest.param(100, 0.0328, 0.0, 0.6108, 323.1, id="indebted elastic: heavier, but of a lower rank"),
        pytest.param(100, 1000.0, 0.0, 0.0, 100 / 21, id="the ratio counts 10 at most"),
        pytest.param(1, 1.0, 1.0, 0.0, 1 / 6, id="a standing burst halves"),
    ],
)
def test_weight(class_weight: float, ratio: float, burst: float, debt: float, expected: float) -> None:
    assert weight(class_weight, ratio, burst, debt) == pytest.approx(expected, rel=1e-3)


@given(ratios, ratios, bursts, bursts, debts, debts)
def test_weight_moves_the_right_way_and_stays_positive(
    ratio: float, slower: float, burst: float, wilder: float, debt: float, more_owed: float
) -> None:
    """I10, first half."""
    base = weight(100, ratio, burst, debt)
    assert base > 0
    assert weight(100, max(ratio, slower), burst, debt) <= base
    assert weight(100, ratio, max(burst, wilder), debt) <= base
    assert weight(100, ratio, burst, max(debt, more_owed)) >= base


@given(st.integers(0, 3), st.integers(0, 3), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_no_weight_beats_a_rank(first: int, second: int, light: float, heavy: float) -> None:
    """I10, second half: rank order is never inverted."""
    if first < second:
        assert outranks(first, light, second, heavy)
        assert not outranks(second, heavy, first, light)
    if first == second:
        assert outranks(first, heavy, second, light) is (heavy > light)


@given(st.lists(st.tuples(ratios, bursts, debts), min_size=1, max_size=9))
def test_arrays_equal_scalars(rows: list[tuple[float, float, float]]) -> None:
    ratio, burst, debt = (np.array(column) for column in zip(*rows, strict=True))
    expected = [weight(100, *row) for row in rows]
    np.testing.assert_allclose(weights(np.full(len(rows), 100.0), ratio, burst, debt, WeightFactors()), expected)


@pytest.mark.parametrize("wrong", [(0, 1, 0), (-1, 1, 0), (100, -1, 0), (100, 1, -1)])
def test_impossible_terms_are_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="class weight must be above 0"):
        weight(*wrong, 0.0)


def test_negative_factors_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        WeightFactors(debt=-1)
