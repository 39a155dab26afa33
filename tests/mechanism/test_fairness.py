"""Fairness of one moment: over whom it is taken, and its extremes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.mechanism.fairness import fairness

rates = st.floats(0, 1e5).map(lambda value: round(value, 3))


def of(*rows: tuple[float, float, float]) -> tuple[int, float, float, float]:
    """(active, mean satisfied, Jain, dispersion) of rows (served, base, demand)."""
    columns = np.array(rows, dtype=float).reshape(-1, 3)
    found = fairness(columns[:, 0], columns[:, 1], columns[:, 2], np.ones(len(rows), dtype=bool))
    return found.active, found.mean_satisfied, found.jain, found.dispersion


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([], (0, 1, 1, 0), id="nobody"),
        pytest.param([(0, 100, 0), (0, 50, 0)], (0, 1, 1, 0), id="idle tenants are owed nothing"),
        pytest.param([(40, 100, 40), (50, 50, 90)], (2, 1, 1, 3 / 7), id="everybody as promised"),
        pytest.param([(50, 100, 200), (25, 50, 200)], (2, 0.5, 1, 0), id="equally short is fair"),
        pytest.param([(100, 100, 100), (0, 100, 100)], (2, 0.5, 0.5, 1), id="one gets all"),
        pytest.param([(300, 100, 400), (100, 100, 100)], (2, 1, 1, 0.5), id="above the promise counts as satisfied"),
        pytest.param([(90, 0, 90), (100, 100, 100)], (1, 1, 1, 0), id="who was promised nothing is not compared"),
    ],
)
def test_cases(rows: list[tuple[float, float, float]], expected: tuple[float, ...]) -> None:
    assert of(*rows) == pytest.approx(expected)


@given(st.lists(st.tuples(rates, rates, rates), max_size=8))
def test_bounds(rows: list[tuple[float, float, float]]) -> None:
    active, satisfied, jain, spread = of(*rows)
    assert 0 <= satisfied <= 1 and spread >= 0
    assert 1 / max(1, active) - 1e-9 <= jain <= 1 + 1e-9


def test_lumpy_work_that_was_never_turned_away_is_satisfied() -> None:
    served, base, demand = np.array([40.0, 40.0]), np.array([100.0, 100.0]), np.array([90.0, 90.0])
    found = fairness(served, base, demand, np.array([True, False]))
    assert found.satisfied.tolist() == [40 / 90, 1.0] and found.active == 2


def test_negative_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        of((-1, 1, 1))
