"""What the tick promises about limits, holds and thresholds: properties of any shard, and named cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from pools.mechanism.tick_reference import hold
from pools.mechanism.tick_types import TickInput, TickSettings, TickState
from tests.mechanism.worlds import KV, World, row0, worlds

FLOOD = {"offered_tokens": 9000.0, "refused": 5.0}


def slots(count: float) -> tuple[float, float, float]:
    return (15.0 * count, KV * count, float(count))


def reserved(count: int, kind: int = 1, **changes: object) -> object:
    usual = {"service_class": kind, "class_weight": 1000.0, "base": slots(count), "cap": slots(count), "lendable": 0.5}
    return row0(**(usual | changes))


@given(worlds(fills=("max_min", "drf")))
@settings(max_examples=120, deadline=None)
def test_limits_of_any_shard(world: World) -> None:
    """I4 and I11: limits add up to no more than capacity, stay within caps, are whole where they must be."""
    result, rows = world.fast(), world.rows
    member = world.as_input().entitlements.pool
    for p, capacity in enumerate(world.capacity):
        total = result.limit[member == p].sum(axis=0)
        assert np.all(total <= np.array(capacity) * (1 + 1e-9) + 1e-6)
    for row, limit, weight, debt in zip(rows, result.limit, result.weight, result.debt, strict=True):
        assert np.all(limit >= 0)
        assert np.all(limit <= np.array(row.cap) * (1 + 1e-9) + 1e-6)
        assert limit[1] == int(limit[1])
        assert limit[2] == int(limit[2])
        assert weight > 0
        if row.state != 2:
            assert not limit.any()
        if row.service_class != 2 and world.debt_step:
            assert debt == 0  # also where a tenant's tier moved it off elastic with a debt
        if row.service_class == 1:
            assert np.all(limit <= np.array(row.base) * (1 + 1e-9) + 1e-6)


@given(worlds())
@settings(max_examples=120, deadline=None)
def test_no_weight_lets_a_lower_rank_pass(world: World) -> None:
    """I10 in the limits: a rank gets demand served only after every rank above has what stage and demand allow it."""
    result, member = world.fast(), world.as_input().entitlements.pool
    kinds = np.array([row.service_class for row in world.rows], dtype=int)
    caps = np.array([row.cap for row in world.rows]).reshape(-1, 3)
    bound = np.array([row.state == 2 for row in world.rows], dtype=bool)
    reached = np.cumsum(result.stages, axis=1)
    for p in range(len(world.pools)):
        here = (member == p) & bound
        wants = np.minimum(caps, result.demand)
        for d in range(3):
            for lower, stage, upper in ((3, 3, (0, 2)), (4, 4, (0, 2, 3))):
                if result.stages[here & (kinds == lower), stage, d].sum() > 1e-6:
                    above = here & np.isin(kinds, upper)
                    assert np.all(reached[above, stage, d] >= wants[above, d] * (1 - 1e-9) - 1e-6)


@given(worlds())
@settings(max_examples=80, deadline=None)
def test_nothing_wanted_is_left_lying(world: World) -> None:
    """Work conservation of the limits: capacity is left over only where everyone bound stands at its cap."""
    result, member = world.fast(), world.as_input().entitlements.pool
    for p, capacity in enumerate(world.capacity):
        rows = [row for row in world.pools[p] if row.state == 2]
        withheld = sum(row.base[2] for row in world.pools[p] if row.state == 1)
        room = max(0.0, capacity[2] - withheld)
        assert result.limit[member == p, 2].sum() == min(room, sum(row.cap[2] for row in rows))


def test_rank_zero_keeps_its_base_in_a_flood() -> None:
    busy = reserved(6, in_flight=slots(6), recent_peak=slots(6), used=slots(6))
    spot = row0(service_class=3, class_weight=1.0, base=(0.0, 0.0, 0.0), cap=slots(10), **FLOOD)
    result = World(((busy, spot),), (slots(10),)).fast()  # type: ignore[arg-type]
    assert result.limit[:, 2].tolist() == [6.0, 4.0]


@pytest.mark.parametrize(
    ("kind", "lendable", "use", "peak", "expected"),
    [
        pytest.param(1, 0.5, 2, 2, 2 + 0.5, id="half of the idle reserve is lent, one sequence more is kept"),
        pytest.param(1, 0.0, 2, 2, 4.0, id="strict isolation"),
        pytest.param(1, 1.0, 2, 2, 1.0, id="full work conservation"),
        pytest.param(1, 1.0, 2, 5, 4.0, id="a reserve in recent use is not lent"),
        pytest.param(0, 1.0, 2, 2, 4.0, id="dedicated never lends"),
        pytest.param(1, 0.5, 6, 6, 0.0, id="all in use, nothing to hold"),
        pytest.param(0, 0.0, 8, 8, 0.0, id="a burst above base holds nothing"),
    ],
)
def test_holds(kind: int, lendable: float, use: int, peak: int, expected: float) -> None:
    row = reserved(6, kind, lendable=lendable, cap=slots(12), in_flight=slots(use), recent_peak=slots(peak))
    result = World(((row,),), (slots(20),)).fast()  # type: ignore[arg-type]
    assert result.holds[0, 2] == pytest.approx(expected)
    assert result.hold[0, 2] == pytest.approx(expected)
    assert result.hold_preemptible[0, 2] == pytest.approx(expected if kind == 0 else 0.0)
    share = 0.0 if kind == 0 else lendable
    assert hold(6.0, result.kept[0, 2], float(use), share) == pytest.approx(expected)


def test_a_draining_lease_is_withheld_from_everyone() -> None:
    draining, spot = reserved(6, state=1), row0(service_class=3, base=(0.0, 0.0, 0.0), cap=slots(16), **FLOOD)
    result = World(((draining, spot),), (slots(16),)).fast()  # type: ignore[arg-type]
    assert result.hold[0].tolist() == result.hold_preemptible[0].tolist() == list(slots(6))
    assert result.limit[:, 2].tolist() == [0.0, 10.0]


def test_lent_reserve_goes_to_who_wants_it_but_the_owner_can_count_on_its_base() -> None:
    idle, hungry = reserved(6), row0(base=slots(5), cap=slots(16), **FLOOD)
    result = World(((idle, hungry),), (slots(12),)).fast()  # type: ignore[arg-type]
    assert result.limit[0, 2] + result.limit[1, 2] == 12
    assert result.limit[1, 2] > 6
    assert result.assured[0].tolist() == list(slots(6))
    assert result.refill[0] == 90.0


@pytest.mark.parametrize(
    ("capacity", "enter", "leave"),
    [pytest.param(16, 15.0, 14.0, id="one sequence"), pytest.param(100, 94.0, 88.0, id="six percent")],
)
def test_contended_thresholds(capacity: int, enter: float, leave: float) -> None:
    result = World(((row0(),),), (slots(capacity),)).fast()
    assert (result.contended_enter[0, 2], result.contended_leave[0, 2]) == (enter, leave)


@pytest.mark.parametrize(
    ("largest", "expected"),
    [pytest.param(512.0, 1500.0, id="ten seconds"), pytest.param(4096.0, 4096.0, id="one request")],
)
def test_bucket_size(largest: float, expected: float) -> None:
    result = World(((row0(largest_cost_tokens=largest, **FLOOD),),), (slots(10),)).fast()
    assert result.bucket_size[0] == pytest.approx(expected)


def test_headroom_is_what_is_left_below_limit_and_capacity() -> None:
    row = row0(in_flight=slots(3), used=slots(3), recent_peak=slots(3), **FLOOD)
    result = World(((row, reserved(4)),), (slots(12),)).fast()  # type: ignore[arg-type]
    assert result.headroom[0, 2] == result.limit[0, 2] - 3
    assert result.pool_headroom[0, 2] == pytest.approx(12 - 3 - result.hold[0, 2])


def test_the_explanation_multiplies_to_the_weight() -> None:
    rows = (row0(slo_ms=100.0, debt=0.3, burst=0.2), row0(slo_ms=900.0, **FLOOD))
    result = World((rows,), (slots(4),)).fast()
    terms = result.explain
    product = 100.0 / terms.slo_term / terms.burst_term * terms.debt_term
    np.testing.assert_allclose(result.weight, product)
    assert terms.slo_ratio.tolist() == [0.2, 1.8]


def test_debt_moves_only_on_its_step_and_sees_the_whole_window() -> None:
    row = row0(window_used=(4 * 75.0, 0.0, 0.0), window_wanted=1.0, **FLOOD)
    quiet = World(((row,),), (slots(4),), debt_step=False).fast()
    assert quiet.debt[0] == 0
    assert quiet.state.window_s.tolist() == [5.0]
    moved = World(((row,),), (slots(4),), debt_step=True).fast()
    # four of five seconds were served in full: the window's average is 60 of 75 tokens/s
    assert moved.explain.gap[0] == pytest.approx(0.2)
    assert moved.debt[0] == pytest.approx(0.2 * (1 - np.exp(-5 / 14)))
    assert moved.state.window_s.tolist() == [0.0]


def test_the_time_constant_follows_the_pools_lag() -> None:
    result = World(((row0(),),), (slots(4),), mean_service_s=29.0).fast()
    assert result.explain.debt_tau_s.tolist() == [66.0]


def test_paper_mode_is_literal() -> None:
    """Idle tenants earn debt, and a debt of -0.25 kills the weight: why it is for comparison only."""
    rows = (row0(), row0(debt=-0.25, window_used=(0.0, 0.0, 0.0)))
    world = World((rows,), (slots(8),), rules=TickSettings(mode="paper"))
    assert world.fast().debt[0] == pytest.approx(0.3, abs=1e-3)
    still = replace(world, debt_step=False).fast()
    assert still.weight[1] == 0
    assert still.limit[:, 2].tolist() == [5.0, 5.0]


def _refused(world: World, **changes: object) -> str:
    with pytest.raises(ValueError) as refused:
        replace(world.as_input(), **changes)
    return str(refused.value)


def test_wrong_input_is_refused_with_the_reason() -> None:
    world = World(((row0(), row0()), (row0(),)), (slots(4), slots(4)))
    columns = world.as_input().entitlements
    assert "elapsed_s" in _refused(world, elapsed_s=0.0)
    assert "align" in _refused(world, state=TickState.fresh(2, 2))
    assert "grouped by pool" in _refused(world, entitlements=replace(columns, pool=np.array([1, 0, 1])))
    assert "0..1" in _refused(world, entitlements=replace(columns, pool=np.array([0, 1, 2])))
    assert "column cap must have 3 rows" in _refused(world, entitlements=replace(columns, cap=columns.cap[:2]))


@pytest.mark.parametrize("wrong", [{"mode": "fancy"}, {"fill": "none"}, {"demand_tau_s": 0}, {"contended_share": 1.0}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        TickSettings(**wrong)  # type: ignore[arg-type]


def test_pools_may_tick_at_their_own_times() -> None:
    rows = ((row0(**FLOOD),), (row0(**FLOOD),))
    world = World(rows, (slots(4), slots(4))).as_input()
    both: TickInput = replace(world, elapsed_s=np.array([1.0, 2.0]))
    from pools.mechanism.tick import tick

    assert tick(both).explain.average.shape == (2, 3)
    assert tick(both).demand[0, 0] > tick(both).demand[1, 0]
