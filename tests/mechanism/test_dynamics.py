"""The tick in a loop with a served tenant behind it: where shares settle, how fast, what idle tenants are owed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.mechanism.debt import convergence, loop_gain
from pools.mechanism.ordering import Floats, WeightFactors
from pools.mechanism.tick import tick
from pools.mechanism.tick_reference import Row, Triple
from pools.mechanism.tick_types import TickResult, TickSettings
from tests.mechanism.worlds import KV, World, row0

RATE = 15.0
"""Tokens per second of one slot."""


def slots(count: float) -> Triple:
    return (RATE * count, KV * count, float(count))


def run(
    rows: tuple[Row, ...],
    capacity: Callable[[float], float],
    offered: Callable[[float], list[float]],
    seconds: int,
    rules: TickSettings | None = None,
    debt_every: int = 5,
) -> list[TickResult]:
    """One pool for so many seconds: each tick serves min(limit, offered) slots of the tick before, by tokens."""
    world = World((rows,), (slots(capacity(0.0)),), window_s=0.0, rules=rules or TickSettings())
    given_ = world.as_input()
    served = np.minimum(np.array(offered(0.0)), 0.0)
    results = []
    for second in range(1, seconds + 1):
        wants = np.array(offered(float(second)))
        used = np.stack([served * RATE, served * KV, served], axis=1)
        columns = replace(
            given_.entitlements,
            used=used,
            in_flight=used * np.array([8.0, 1.0, 1.0]),
            recent_peak=used,
            offered_tokens=wants * RATE,
            refused=(wants > served + 1e-9).astype(np.float64),
        )
        pools = replace(given_.pools, capacity=np.array([slots(capacity(float(second)))]))
        given_ = replace(given_, entitlements=columns, pools=pools, debt_step=second % debt_every == 0)
        results.append(tick(given_))
        given_ = replace(given_, state=results[-1].state)
        served = np.minimum(results[-1].limit[:, 0] / RATE, wants)
    return results


def shares(result: TickResult) -> Floats:
    in_slots: Floats = result.limit[:, 0] / RATE
    return in_slots


def elastic(base: float, slo_ms: float, **changes: object) -> Row:
    return row0(base=slots(base), cap=slots(80), slo_ms=slo_ms, **changes)


@pytest.mark.parametrize(
    ("strength", "first", "second"),
    [(0, 32.9, 7.1), (1, 31.1, 8.9), (2, 30.4, 9.6), (4, 29.8, 10.2), (8, 29.3, 10.7)],
)
def test_debt_evens_out_shares_to_the_fixed_point(strength: float, first: float, second: float) -> None:
    """Experiment 2b, the best single test that debt works: 160 → 40 slots, bases 50 + 50, offered 80 + 80."""
    rules = TickSettings(factors=WeightFactors(debt=strength))
    rows = (elastic(50, 500.0), elastic(50, 30_000.0))
    history = run(rows, lambda at_s: 160.0 if at_s < 30 else 40.0, lambda _: [80.0, 80.0], 300, rules)
    assert shares(history[24]).sum() == pytest.approx(160.0)
    assert shares(history[-1]) == pytest.approx([first, second], abs=0.1)
    assert history[-1].limit[:, 2].tolist() == [round(first), round(second)]


def test_two_equal_tenants_converge_by_mu_per_step() -> None:
    """I8: the difference in debt of two equal tenants shrinks by mu = kept - (1 - kept) x K at each debt step."""
    rows = (elastic(5, 500.0, debt=0.42), elastic(5, 500.0, debt=0.38))
    history = run(rows, lambda _: 6.0, lambda _: [8.0, 8.0], 120, debt_every=1)
    kept = math.exp(-1.0 / 14.0)
    steps = history[30:]
    gaps = [float(result.debt[0] - result.debt[1]) for result in steps]
    mu = convergence(kept, loop_gain(4.0, float(steps[0].debt.mean()), 0.6))
    assert 0 < mu < 1
    for before, after in pairwise(gaps[:21]):
        assert after / before == pytest.approx(mu, abs=0.01)
    assert shares(history[-1]) == pytest.approx([3.0, 3.0], abs=0.01)


@given(st.sampled_from([100.0, 500.0, 5000.0]), st.sampled_from([100.0, 500.0, 5000.0]), st.integers(4, 9))
@settings(max_examples=12, deadline=None)
def test_unequal_targets_settle_at_one_point_within_a_slot(first_ms: float, second_ms: float, capacity: int) -> None:
    """I8: from any start the same shares are reached, and they stay."""
    ends = []
    for debts in ((0.9, -0.9), (-0.5, 0.5)):
        rows = (elastic(5, first_ms, debt=debts[0]), elastic(5, second_ms, debt=debts[1]))
        history = run(rows, lambda _: float(capacity), lambda _: [8.0, 8.0], 200)
        assert shares(history[-1]) == pytest.approx(shares(history[-6]), abs=0.05)
        ends.append(shares(history[-1]))
    assert ends[0] == pytest.approx(ends[1], abs=0.1)


def test_a_late_tenant_first_catches_up_then_shares_evenly() -> None:
    """Experiment 3: equal targets, 8 slots, bases 5 + 5. B joins at 60 s; A, served above its base until then, stands
    back for a while, and from 75 s on they are within 0.2 slots of each other on average."""
    rows = (elastic(5, 500.0), elastic(5, 500.0))
    history = run(rows, lambda _: 8.0, lambda at_s: [8.0, 8.0 if at_s >= 60 else 0.0], 180)
    assert shares(history[56])[0] == pytest.approx(8.0, abs=0.01)
    apart = [float(shares(result)[0] - shares(result)[1]) for result in history]
    assert abs(float(np.mean(apart[75:]))) <= 0.2
    assert max(map(abs, apart[85:])) <= 0.2
    assert min(float(shares(result).sum()) for result in history) >= 0.98 * 8


def test_debt_falls_back_once_service_is_back() -> None:
    """I7 in the loop: after the outage debts fall towards zero and below, never up again."""
    rows = (elastic(50, 500.0), elastic(50, 30_000.0))
    history = run(rows, lambda at_s: 40.0 if 30 <= at_s < 120 else 160.0, lambda _: [50.0, 50.0], 300)
    assert (history[115].debt > 0.2).all()
    after = np.array([result.debt for result in history[130::5]])
    assert (np.diff(after, axis=0) <= 1e-9).all()
    assert (np.abs(after[-1]) < 0.01).all()


@given(st.floats(-1, 1), st.floats(0, 1e4), st.lists(st.integers(0, 4), min_size=3, max_size=8))
@settings(max_examples=40, deadline=None)
def test_an_idle_tenants_debt_never_grows(debt: float, remembered: float, others: list[int]) -> None:
    """I9: whatever it is owed and whatever demand is still remembered, idling earns nothing."""
    idle = elastic(5, 500.0, debt=debt, smoothed=(remembered, 0.0, 0.0), since_refused_s=1.0)
    other = elastic(5, 500.0)
    history = run((idle, other), lambda _: 6.0, lambda at_s: [0.0, float(others[int(at_s) % len(others)])], 30)
    path = [debt, *(float(result.debt[0]) for result in history)]
    assert all(abs(after) <= abs(before) + 1e-12 for before, after in pairwise(path))


def test_a_lumpy_tenant_that_is_never_turned_away_is_owed_nothing() -> None:
    """Its smoothed demand runs ahead of what is served between its bursts, which must not look like a promise
    broken."""
    rows = (elastic(5, 500.0), elastic(5, 500.0))
    world = World((rows,), (slots(20),), window_s=0.0).as_input()
    for second in range(1, 61):
        lump = 600.0 if second % 10 == 1 else 0.0
        columns = replace(
            world.entitlements,
            offered_tokens=np.array([lump, 0.0]),
            used=np.array([[60.0, KV, 1.0], [0.0, 0.0, 0.0]]),
            in_flight=np.array([[600.0, KV, 1.0], [0.0, 0.0, 0.0]]),
        )
        world = replace(world, entitlements=columns, debt_step=second % 5 == 0)
        result = tick(world)
        world = replace(world, state=result.state)
        assert result.debt[0] <= 0.0
