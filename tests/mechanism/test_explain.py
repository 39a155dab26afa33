"""What is explained multiplies out to what the tick wrote, for any world; what-ifs are the tick's own answers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings

from pools.mechanism.explain import debt_story, limit_story, standing, weight_story
from pools.mechanism.ordering import SLO_RATIO_LIMIT
from pools.mechanism.tick import tick
from pools.mechanism.tick_reference import Row
from pools.mechanism.what_if import what_ifs
from tests.mechanism.worlds import KV, World, row0, worlds

close = pytest.approx


@given(worlds(fills=("max_min", "drf")))
@settings(max_examples=150, deadline=None)
def test_weights_multiply_out(world: World) -> None:
    shard = world.as_input()
    result = tick(shard)
    for row in range(len(world.rows)):
        told = weight_story(shard, result, row)
        if told.mean_slo_ms:
            assert told.slo_ratio == close(told.slo_ms / told.mean_slo_ms)
        assert told.slo_term == close(1 + told.slo_factor * min(told.slo_ratio, SLO_RATIO_LIMIT))
        assert told.burst_term == close(1 + told.burst_factor * told.burst)
        size = 1 + told.debt_factor * abs(told.debt)
        assert told.debt_term == close(size if told.debt >= 0 else 1 / size)
        assert told.weight == close(told.class_weight / told.slo_term / told.burst_term * told.debt_term)
        assert told.weight == result.weight[row]


@given(worlds())
@settings(max_examples=150, deadline=None)
def test_debts_and_bursts_follow_from_their_terms(world: World) -> None:
    shard = replace(world.as_input(), debt_step=True)
    result = tick(shard)
    for row in range(len(world.rows)):
        told = debt_story(shard, result, row)
        assert told.kept == close(math.exp(-told.window_s / told.tau_s))
        if told.applies:
            gap = (min(told.base, told.demand) - told.served) / told.base
            gap = gap if told.patient else min(0.0, gap)
            assert told.gap == close(min(max(gap, -1.0), 1.0), abs=1e-9)
            assert told.debt == close(told.kept * told.before + (1 - told.kept) * told.gap, abs=1e-12)
        elif world.rows[row].service_class != 2:
            assert told.debt == 0
        burst = told.burst_kept * told.burst_before + (1 - told.burst_kept) * told.excess
        assert told.burst == close(burst, abs=1e-9)


@given(worlds(fills=("max_min", "drf")))
@settings(max_examples=150, deadline=None)
def test_limits_are_the_sum_of_their_stages(world: World) -> None:
    shard = world.as_input()
    result = tick(shard)
    for row in range(len(world.rows)):
        told = limit_story(shard, result, row)
        assert len(told.stages) == 6
        summed = [sum(stage.given[d] for stage in told.stages) for d in range(3)]
        assert list(told.total) == close(summed, rel=1e-9, abs=1e-6)
        assert abs(told.limit[0] - summed[0]) <= 1e-6 * max(1.0, summed[0])
        assert abs(told.limit[1] - summed[1]) <= 1.0 + 1e-6 and abs(told.limit[2] - summed[2]) <= 1.0
        for d in range(3):
            assert told.headroom[d] == close(max(0.0, told.assured[d] - told.use[d]), abs=1e-6)
            for stage in told.stages:
                reached = stage.before[d] + stage.given[d]
                if stage.why[d] == "full":
                    assert reached == close(stage.target[d], rel=1e-6, abs=1e-6)
                if stage.why[d] in ("not_yours", "nothing_missing"):
                    assert stage.given[d] == close(0, abs=1e-6)
                if stage.why[d] == "ran_out" and world.rules.fill == "max_min":
                    taken = stage.given[d] + stage.others[d]
                    assert taken == close(stage.left[d], rel=1e-6, abs=1e-3), "short only when the pool ran out"
                assert stage.given[d] + stage.others[d] <= stage.left[d] * (1 + 1e-9) + 1e-3


@given(worlds(fills=("max_min", "drf")))
@settings(max_examples=100, deadline=None)
def test_at_rest_the_same_tick_gives_the_same_answer(world: World) -> None:
    shard = world.as_input()
    result = tick(shard)
    again = tick(standing(shard, result))
    for name in ("weight", "limit", "assured", "holds", "stages"):
        assert np.array_equal(getattr(again, name), getattr(result, name)), name


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_what_ifs_start_from_what_is_and_never_fail(world: World) -> None:
    assume(world.rows)
    shard = world.as_input()
    result = tick(shard)
    made = what_ifs(shard, result, 0, replicas=2)
    assert {one.kind for one in made} >= {"slo", "cap", "demand_up", "demand_down", "replica"}
    for one in made:
        assert list(one.before) == result.assured[0].tolist()
        assert one.weight_ratio > 0
        if one.kind in ("cap", "demand_up", "demand_down", "replica", "base"):
            assert one.weight_ratio == close(1.0), "only SLO, burst and debt move a weight"


FLOODED = row0(offered_tokens=4000.0, refused=3.0, smoothed=(300.0, 20 * KV, 20.0))
BUSY = row0(smoothed=(120.0, 8 * KV, 8.0))


def outcome(kind: str, *rows: Row, slots: float = 12.0) -> tuple[float, float, float]:
    """(weight ratio, tokens/s before, after) of the first row in a pool of some slots of 15 tokens/s each."""
    shard = World((rows,), ((15.0 * slots, slots * KV, slots),), debt_step=False).as_input()
    found = {one.kind: one for one in what_ifs(shard, tick(shard), 0, 1)}[kind]  # type: ignore[index]
    return found.weight_ratio, found.before[0], found.after[0]


def test_a_tighter_target_raises_the_weight() -> None:
    """500 ms of a mean of 500: term 3. 250 of a mean of 375: ratio 2/3, term 7/3. 3 / (7/3) = 9/7, the other's falls
    to 3 / (1 + 2 x 500/375) = 9/11: of the 30 tokens/s above both bases 11/18 instead of half."""
    ratio, before, after = outcome("slo", FLOODED, FLOODED)
    assert (ratio, before, after) == (close(9 / 7), 90.0, close(75 + 30 * 11 / 18))


def test_one_more_replica_and_more_room_below_the_cap() -> None:
    assert outcome("replica", FLOODED, FLOODED)[1:] == (90.0, 150.0), "to the cap of 10 slots"
    assert outcome("cap", FLOODED, slots=30.0)[1:] == (150.0, 225.0)


def test_asking_for_less_leaves_the_surplus_to_others() -> None:
    _, before, after = outcome("demand_down", BUSY, BUSY, slots=14.0)
    assert before == close(105.0) and after < before


def test_a_repaid_debt_takes_the_weight_back() -> None:
    ratio, before, after = outcome("repaid", replace(FLOODED, debt=0.25), FLOODED)
    assert (ratio, before, after) == (close(0.5), close(75 + 30 * 2 / 3), close(90))


def test_who_is_not_bound_has_no_stage() -> None:
    shard = World(((replace(FLOODED, state=4), FLOODED),), ((75.0, 5 * KV, 5.0),)).as_input()
    told = limit_story(shard, tick(shard), 0)
    assert not told.bound and told.limit == (0, 0, 0)
    assert {why for stage in told.stages for why in stage.why} == {"not_yours"}
