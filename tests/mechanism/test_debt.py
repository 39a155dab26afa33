"""Service gap, debt, burst and the time constants that keep the loop stable."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.mechanism.debt import (
    TAU_PER_LAG,
    burst_excess,
    burst_step,
    convergence,
    debt_step,
    debt_tau_s,
    fixed_point,
    loop_gain,
    service_gap,
    stable_lag_share,
)

rates = st.floats(0, 1000)


@pytest.mark.parametrize(
    ("base", "demand", "served", "refused", "gap"),
    [
        pytest.param(100, 150, 60, math.inf, 0.4, id="wanted more than base, got 60"),
        pytest.param(100, 80, 60, math.inf, 0.2, id="only what was wanted counts"),
        pytest.param(100, 0, 0, math.inf, 0.0, id="idle earns nothing"),
        pytest.param(100, 150, 130, math.inf, -0.3, id="served above base"),
        pytest.param(100, 500, 400, math.inf, -1.0, id="clipped below"),
        pytest.param(100, 150, 60, 0, 0.0, id="never turned away, never owed"),
        pytest.param(100, 150, 60, 15, 0.15, id="at most what was turned away"),
        pytest.param(100, 20, 60, 0, -0.4, id="being ahead still counts"),
        pytest.param(0, 50, 50, math.inf, 0.0, id="no base, no claim"),
    ],
)
def test_service_gap(base: float, demand: float, served: float, refused: float, gap: float) -> None:
    assert service_gap(base, demand, served, refused) == pytest.approx(gap)


@given(rates, rates, rates, rates)
def test_the_gap_stays_within_one(base: float, demand: float, served: float, refused: float) -> None:
    assert -1.0 <= service_gap(base, demand, served, refused) <= 1.0


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0.1, 30)), max_size=30))
def test_debt_stays_within_one(steps: list[tuple[float, float]]) -> None:
    debt = 0.0
    for gap, elapsed_s in steps:
        debt = debt_step(debt, gap, elapsed_s, 14.0)
        assert -1.0 <= debt <= 1.0


@given(st.floats(-1, 1), st.lists(st.floats(0.1, 9), min_size=1, max_size=20))
def test_debt_decays_with_its_time_constant(debt: float, steps: list[float]) -> None:
    """I7: with service back (gap 0), |debt| falls as exp(-t / tau), however the time is cut."""
    left = debt
    for elapsed_s in steps:
        left = debt_step(left, 0.0, elapsed_s, 14.0)
    assert left == pytest.approx(debt * math.exp(-sum(steps) / 14.0), abs=1e-12)


@given(st.lists(st.tuples(st.floats(1, 500), st.lists(st.floats(-0.9, 0.9), min_size=6, max_size=6)), max_size=5))
def test_debts_weighted_by_base_are_the_average_of_the_total_shortfall(
    tenants: list[tuple[float, list[float]]],
) -> None:
    """I6: sum of base x debt = EWMA of the sum of shortfalls, while no gap is clipped."""
    debts, total = [0.0] * len(tenants), 0.0
    for step in range(6):
        shortfall = 0.0
        for i, (base, gaps) in enumerate(tenants):
            served = base * (1 - gaps[step])
            debts[i] = debt_step(debts[i], service_gap(base, 10 * base, served), 5.0, 14.0)
            shortfall += base - served
        total = debt_step(total, shortfall, 5.0, 14.0)
    owed = sum(base * debt for (base, _), debt in zip(tenants, debts, strict=True))
    assert owed == pytest.approx(total, abs=1e-6)


@pytest.mark.parametrize(
    ("average", "reference", "excess"),
    [
        pytest.param((100, 10, 5), (100, 10, 5), 0.0, id="at base"),
        pytest.param((150, 10, 5), (100, 10, 5), 0.5, id="half more tokens"),
        pytest.param((150, 20, 5), (100, 10, 5), 1.5, id="dimensions add up"),
        pytest.param((50, 10, 10), (100, 10, 5), 1.0, id="one below does not pay for another above"),
        pytest.param((50, 10, 10), (0, 0, 0), 0.0, id="no reference, no burst"),
    ],
)
def test_burst_excess(
    average: tuple[float, float, float], reference: tuple[float, float, float], excess: float
) -> None:
    assert burst_excess(average, reference) == pytest.approx(excess)


def test_the_papers_cadence() -> None:
    """tau = 14 s is the paper's 0.7 per 5 s step."""
    assert burst_step(1.0, 0.0, 5.0, 14.0) == pytest.approx(0.7, abs=5e-4)


@pytest.mark.parametrize(
    ("service_s", "tau_s"),
    [pytest.param(4, 14.0, id="short requests: the floor"), pytest.param(29, 66.0, id="long requests: 2.2 x lag")],
)
def test_debt_tau(service_s: float, tau_s: float) -> None:
    assert debt_tau_s(1.0, service_s) == pytest.approx(tau_s)


def test_the_rule_for_tau_is_stable_with_a_margin() -> None:
    assert stable_lag_share(4.0) == pytest.approx(0.471, abs=5e-4)
    assert stable_lag_share(1.0) == math.inf
    assert stable_lag_share(4.0) > 1 / TAU_PER_LAG


@pytest.mark.parametrize(("lag_share", "settles"), [(0.40, True), (0.455, True), (0.50, False), (0.60, False)])
def test_the_stability_bound_holds_when_simulated(lag_share: float, settles: bool) -> None:
    """x' = -(x + 4 x(t - lag)) / tau, stepped finely: dies out below a lag of 0.471 tau, grows above it."""
    step_s, tau_s = 0.002, 1.0
    lag = round(lag_share / step_s)
    past = [1.0] * (lag + 1)
    for _ in range(round(40 / step_s)):
        past.append(past[-1] - step_s / tau_s * (past[-1] + 4.0 * past[-1 - lag]))
    tail, before = max(map(abs, past[-2000:])), max(map(abs, past[-6000:-4000]))
    assert (tail < before) is settles


@pytest.mark.parametrize(
    ("strength", "first", "second"),
    [(0, 32.9, 7.1), (1, 31.1, 8.9), (2, 30.4, 9.6), (4, 29.8, 10.2), (8, 29.3, 10.7)],
)
def test_fixed_point_of_two_elastic_tenants(strength: float, first: float, second: float) -> None:
    """Experiment 2b: 40 slots for bases of 50 and 50, targets 500 ms and 30 s. More debt strength, evener shares."""
    ratio = (1 + 2 * 30000 / 15250) / (1 + 2 * 500 / 15250)
    shares = fixed_point(ratio, 0.8, strength)
    assert (50 * shares[0], 50 * shares[1]) == pytest.approx((first, second), abs=0.06)


def test_loop_gain_and_convergence() -> None:
    assert loop_gain(4.0, 0.0, 1.0) == 4.0
    assert loop_gain(4.0, 0.6, 0.4) == pytest.approx(1.6 / 3.4)
    assert convergence(0.7, 0.0) == 0.7
    assert abs(convergence(math.exp(-5 / 14), loop_gain(4.0, 0.0, 1.0))) < 1


@pytest.mark.parametrize("wrong", [(-1, 0, 0), (1, -1, 0), (1, 0, -1)])
def test_negative_rates_are_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="rates must be 0 or more"):
        service_gap(*wrong)


def test_impossible_fixed_point_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        fixed_point(0.0, 0.8, 4)
