"""Why one entitlement has the weight, debt and limits it has: the tick's own formulas with the numbers of one tick.

Each story holds the terms of a formula as they were; ``tests/mechanism/test_explain`` multiplies them out and compares
with what the tick wrote. Amounts are (tokens/s, KV bytes, sequences). Source: Token Pools design, sections 6 and 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pools.mechanism.debt import TAU_PER_LAG
from pools.mechanism.limits import Claim, stage_target, stage_weight
from pools.mechanism.ordering import RANK_OF_CLASS, ClassCode, StateCode
from pools.mechanism.tick_steps import measure
from pools.mechanism.tick_types import PATIENCE_S, STAGES, TickInput, TickResult

Triple = tuple[float, float, float]
Why = Literal["not_yours", "nothing_missing", "full", "ran_out", "no_weight"]


@dataclass(frozen=True, slots=True)
class WeightStory:
    """weight = class_weight / slo_term / burst_term x debt_term.

    slo_term = 1 + slo_factor x min(slo_ratio, 10), slo_ratio = slo_ms / mean_slo_ms of the pool's bound entitlements;
    burst_term = 1 + burst_factor x burst; debt_term = 1 + debt_factor x debt when owed, 1 / (1 + debt_factor x |debt|)
    when ahead.
    """

    class_weight: float
    slo_ms: float
    mean_slo_ms: float
    slo_ratio: float
    slo_factor: float
    slo_term: float
    burst: float
    burst_factor: float
    burst_term: float
    debt: float
    debt_factor: float
    debt_term: float
    weight: float


@dataclass(frozen=True, slots=True)
class DebtStory:
    """debt = kept x before + (1 − kept) x gap, kept = exp(−window_s / tau_s).

    gap = (min(base, demand) − served) / base, cut to −1..1; never above 0 unless ``patient``: it asked, and was refused
    within the last minute. ``applies`` false: only elastic entitlements that are bound have a debt.
    burst = burst_kept x burst_before + (1 − burst_kept) x excess, excess = what use exceeds the reference by, summed
    over the dimensions.
    """

    applies: bool
    base: float
    demand: float
    served: float
    patient: bool
    gap: float
    window_s: float
    tau_s: float
    kept: float
    before: float
    debt: float
    excess: float
    burst_kept: float
    burst_before: float
    burst: float


@dataclass(frozen=True, slots=True)
class StageStory:
    """One stage of the fill for one entitlement: ``target`` the level it may reach here, ``before`` what it had,
    ``given`` what it got; ``left`` what the pool had to give, ``others`` what went to others; ``why`` per dimension."""

    name: str
    target: Triple
    before: Triple
    given: Triple
    left: Triple
    others: Triple
    why: tuple[Why, Why, Why]


@dataclass(frozen=True, slots=True)
class LimitStory:
    """limit = sum of the stages, in whole bytes and whole sequences (by largest remainder); rank 0 can count on
    ``assured`` = max(limit, base) although part of it may be lent. ``kept`` of its base is never lent, ``held`` is what
    it withholds from others now."""

    stages: tuple[StageStory, ...]
    total: Triple
    limit: Triple
    assured: Triple
    base: Triple
    cap: Triple
    demand: Triple
    use: Triple
    headroom: Triple
    kept: Triple
    held: Triple
    bucket_tokens: float
    rank: int
    bound: bool


def weight_story(given: TickInput, result: TickResult, row: int) -> WeightStory:
    """The terms of one weight."""
    rows, told, rules = given.entitlements, result.explain, given.settings
    mine = rows.pool == rows.pool[row]
    bound = mine & (rows.state == StateCode.BOUND)
    mean = float(rows.slo_ms[bound].sum() / bound.sum()) if bound.any() else 0.0
    return WeightStory(
        class_weight=float(rows.class_weight[row]),
        slo_ms=float(rows.slo_ms[row]),
        mean_slo_ms=mean,
        slo_ratio=float(told.slo_ratio[row]),
        slo_factor=rules.factors.slo,
        slo_term=float(told.slo_term[row]),
        burst=float(result.burst[row]),
        burst_factor=rules.factors.burst,
        burst_term=float(told.burst_term[row]),
        debt=float(result.debt[row]),
        debt_factor=rules.factors.debt,
        debt_term=float(told.debt_term[row]),
        weight=float(result.weight[row]),
    )


def debt_story(given: TickInput, result: TickResult, row: int) -> DebtStory:
    """How debt and burst moved; ``given`` must be of a debt step (else they do not move). Strict mode's formula."""
    rows, state, rules = given.entitlements, given.state, given.settings
    pool = int(rows.pool[row])
    elapsed_s = np.broadcast_to(np.asarray(given.elapsed_s, dtype=np.float64), state.window_s.shape)
    measured = measure(given, elapsed_s)
    window_s = float(state.window_s[pool] + elapsed_s[pool])
    average = np.maximum(0.0, (state.window_used[row] + rows.used[row]) / window_s)
    reference = np.where(rows.base[row] > 0, rows.base[row], rows.cap[row])
    bound = rows.state[row] == StateCode.BOUND
    over = np.divide(average, reference, out=np.ones(3), where=reference > 0) - 1.0
    wanted = max(float(state.window_wanted[row]), float(measured.wanted[row])) > 0
    tau_s = max(
        rules.smallest_debt_tau_s, TAU_PER_LAG * (rules.limit_interval_s + float(given.pools.mean_service_s[pool]))
    )
    return DebtStory(
        applies=bool(rows.service_class[row] == ClassCode.ELASTIC and bound and rows.base[row, 0] > 0),
        base=float(rows.base[row, 0]),
        demand=float(measured.demand[row, 0]),
        served=float(average[0]),
        patient=wanted and bool(measured.since_refused_s[row] <= PATIENCE_S),
        gap=float(result.explain.gap[row]),
        window_s=window_s,
        tau_s=tau_s,
        kept=math.exp(-window_s / tau_s),
        before=float(state.debt[row]),
        debt=float(result.debt[row]),
        excess=float(np.maximum(0.0, over).sum()) if bound else 0.0,
        burst_kept=math.exp(-window_s / rules.burst_tau_s),
        burst_before=float(state.burst[row]),
        burst=float(result.burst[row]),
    )


def limit_story(given: TickInput, result: TickResult, row: int) -> LimitStory:
    """The limits of one entitlement, stage by stage."""
    rows = given.entitlements
    pool = int(rows.pool[row])
    mine = rows.pool == pool
    bound = mine & (rows.state == StateCode.BOUND)
    draining = (rows.base * (rows.state == StateCode.DRAINING)[:, None])[mine].sum(axis=0)
    left = np.maximum(0.0, given.pools.capacity[pool] - draining)
    claim = _claim(given, result, row)
    has = np.zeros(3)
    stages = []
    for stage, name in enumerate(STAGES):
        part = result.stages[row, stage]
        total = result.stages[bound, stage].sum(axis=0)
        target = np.array(stage_target(stage, claim)) if bound[row] else np.zeros(3)
        pull = np.array(stage_weight(stage, claim))
        why = [_why(target[d], pull[d], has[d], part[d]) for d in range(3)]
        stages.append(
            StageStory(
                name=name,
                target=_triple(target),
                before=_triple(has),
                given=_triple(part),
                left=_triple(left),
                others=_triple(total - part),
                why=(why[0], why[1], why[2]),
            )
        )
        has, left = has + part, np.maximum(0.0, left - total)
    return LimitStory(
        stages=tuple(stages),
        total=_triple(has),
        limit=_triple(result.limit[row]),
        assured=_triple(result.assured[row]),
        base=_triple(rows.base[row]),
        cap=_triple(rows.cap[row]),
        demand=_triple(result.demand[row]),
        use=_triple(np.array([result.explain.average[row, 0], *rows.in_flight[row, 1:]])),
        headroom=_triple(result.headroom[row]),
        kept=_triple(result.kept[row]),
        held=_triple(result.holds[row]),
        bucket_tokens=float(result.bucket_size[row]),
        rank=RANK_OF_CLASS[int(rows.service_class[row])],
        bound=bool(bound[row]),
    )


def _claim(given: TickInput, result: TickResult, row: int) -> Claim:
    """What the fill saw of this entitlement; its reserve in stage 0 as ``tick_steps.withhold`` has it."""
    rows = given.entitlements
    base = rows.base[row]
    lent = 0.0 if rows.service_class[row] == ClassCode.DEDICATED else float(rows.lendable[row])
    reserve = np.maximum((1.0 - lent) * base + lent * result.kept[row], np.minimum(base, result.demand[row]))
    reference = np.where(base > 0, base, rows.cap[row])
    return Claim(
        int(rows.service_class[row]),
        float(result.weight[row]),
        *(values.tolist() for values in (base, reference, rows.cap[row], result.demand[row], reserve)),
    )


def _why(target: float, pull: float, has: float, given: float) -> Why:
    """Why a stage gave what it gave in one dimension."""
    if target <= 0:
        return "not_yours"
    close = 1e-9 * max(1.0, target)
    if has >= target - close:
        return "nothing_missing"
    if has + given >= target - close:
        return "full"
    if pull <= 0:
        return "no_weight"
    return "ran_out"


def standing(given: TickInput, result: TickResult) -> TickInput:
    """The same tick with debt and burst as they are after it and at rest: what a what-if starts from, so that a change
    acts on the limits alone."""
    return replace(given, debt_step=False, state=replace(given.state, debt=result.debt, burst=result.burst))


def _triple(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Triple:
    return (float(values[0]), float(values[1]), float(values[2]))
