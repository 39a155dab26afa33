"""Averages, fairness and head-room."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.mechanism.measures import dispersion, ewma, headroom, jain_index, kept_share, satisfied_fraction

amounts = st.lists(st.floats(0, 1e6), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("values", "index"),
    [
        pytest.param([3, 3, 3], 1.0, id="equal"),
        pytest.param([9, 0, 0], 1 / 3, id="one takes all"),
        pytest.param([], 1.0, id="nobody"),
        pytest.param([0, 0], 1.0, id="nothing to share"),
        pytest.param([1, 2, 3], 36 / 42, id="uneven"),
    ],
)
def test_jain_index(values: list[float], index: float) -> None:
    assert jain_index(np.array(values, dtype=float)) == pytest.approx(index)


@given(amounts)
def test_jain_index_stays_between_one_over_n_and_one(values: list[float]) -> None:
    index = jain_index(np.array(values))
    assert 1 / len(values) - 1e-9 <= index <= 1 + 1e-9


def test_satisfied_fraction() -> None:
    served, wanted = np.array([5.0, 5.0, 0.0, 9.0]), np.array([10.0, 5.0, 0.0, 3.0])
    assert satisfied_fraction(served, wanted).tolist() == [0.5, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(("values", "expected"), [([], 0.0), ([0, 0], 0.0), ([4, 4], 0.0), ([0, 2], 1.0)])
def test_dispersion(values: list[float], expected: float) -> None:
    assert dispersion(np.array(values, dtype=float)) == expected


def test_headroom_is_never_negative() -> None:
    assert headroom(np.array([5.0, 5.0]), np.array([3.0, 9.0])).tolist() == [2.0, 0.0]


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0.01, 100), st.floats(0.01, 100))
def test_two_short_steps_equal_one_long(previous: float, sample: float, first_s: float, second_s: float) -> None:
    """Real elapsed time: the cadence of ticks does not change the average."""
    twice = ewma(ewma(previous, sample, first_s, 14.0), sample, second_s, 14.0)
    assert twice == pytest.approx(ewma(previous, sample, first_s + second_s, 14.0), abs=1e-9)


def test_kept_share() -> None:
    assert kept_share(0.0, 14.0) == 1.0
    assert kept_share(14.0 * math.log(2), 14.0) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="tau_s must be above 0"):
        kept_share(1.0, 0.0)
