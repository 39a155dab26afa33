"""The first steps of the tick: measure demand, move debt and burst, weigh, withhold the reserves.

Each takes the tick's input and what the steps before it found, and returns new arrays. Source: Token Pools design;
debt, burst and weight from the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pools.mechanism import paper
from pools.mechanism.debt import TAU_PER_LAG
from pools.mechanism.limits_arrays import Flags
from pools.mechanism.ordering import RANK_OF_CLASS, SLO_RATIO_LIMIT, ClassCode, Floats, Whole, debt_factors
from pools.mechanism.tick_types import NEVER_S, PATIENCE_S, TickExplain, TickInput

RANKS = np.array(RANK_OF_CLASS, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Measured:
    """Levels of this tick: average and use [E,3], smoothed offers and demand [E,3], and who may be owed [E]."""

    average: Floats
    use: Floats
    smoothed: Floats
    demand: Floats
    since_refused_s: Floats
    wanted: Flags


@dataclass(frozen=True, slots=True)
class Owed:
    """Debt and burst after this tick [E], the gap it saw, the time constant [P], and the window carried on."""

    debt: Floats
    burst: Floats
    gap: Floats
    tau_s: Floats
    window_used: Floats
    window_wanted: Floats
    window_s: Floats


def measure(given: TickInput, elapsed_s: Floats) -> Measured:
    """Average = work / time; offered levels by Little's law from tokens offered; demand = max(in use, smoothed
    offers)."""
    rows, state = given.entitlements, given.state
    each_s = elapsed_s[rows.pool]
    average = np.maximum(0.0, rows.used / each_s[:, None])
    use = rows.in_flight.astype(np.float64, copy=True)
    use[:, 0] = average[:, 0]
    asked = rows.offered_tokens / each_s
    offered = np.empty_like(average)
    offered[:, 0] = asked * rows.work_ratio
    per_request = np.divide(asked, rows.mean_cost_tokens, out=np.zeros_like(asked), where=rows.mean_cost_tokens > 0)
    offered[:, 2] = per_request * rows.mean_service_s
    offered[:, 1] = offered[:, 2] * rows.mean_kv_bytes
    kept = np.exp(-elapsed_s / given.settings.demand_tau_s)[rows.pool][:, None]
    smoothed = kept * state.demand + (1.0 - kept) * offered
    demand = np.maximum(np.maximum(average, use), smoothed)
    since = np.where(rows.refused > 0, 0.0, np.minimum(state.since_refused_s + each_s, NEVER_S))
    wanted = (rows.offered_tokens > 0) | (rows.refused > 0) | (rows.in_flight[:, 2] > 0) | (rows.used[:, 0] > 0)
    return Measured(average, use, smoothed, demand, since, wanted)


def owe(given: TickInput, measured: Measured, elapsed_s: Floats, bound: Flags, reference: Floats) -> Owed:
    """Debt and burst move on a debt step, over the whole window since the last one; else the window only grows."""
    rows, state, rules = given.entitlements, given.state, given.settings
    used = state.window_used + rows.used
    wanted = np.maximum(state.window_wanted, measured.wanted)
    window_s = state.window_s + elapsed_s
    tau_s = np.maximum(rules.smallest_debt_tau_s, TAU_PER_LAG * (rules.limit_interval_s + given.pools.mean_service_s))
    if not given.debt_step:
        return Owed(state.debt, state.burst, np.zeros_like(state.debt), tau_s, used, wanted, window_s)
    each_s = window_s[rows.pool]
    average = np.maximum(0.0, used / each_s[:, None])
    base, served = rows.base[:, 0], average[:, 0]
    over = np.divide(average, reference, out=np.ones_like(average), where=reference > 0) - 1.0
    excess = np.maximum(0.0, over).sum(axis=1) * bound
    if rules.mode == "paper":
        gap = paper.gaps(base, served) * bound
        kept = paper.kept_share(window_s)[rows.pool]
        debt, burst = kept * state.debt + (1.0 - kept) * gap, kept * state.burst + (1.0 - kept) * excess
    else:
        elastic = rows.service_class == ClassCode.ELASTIC
        gap = np.minimum(base, measured.demand[:, 0]) - served
        patient = (wanted > 0) & (measured.since_refused_s <= PATIENCE_S)
        gap = np.where(patient, gap, np.minimum(0.0, gap))
        gap = np.clip(np.divide(gap, base, out=np.zeros_like(gap), where=(base > 0) & elastic & bound), -1.0, 1.0)
        kept = np.exp(-window_s / tau_s)[rows.pool]
        debt = np.where(elastic, kept * state.debt + (1.0 - kept) * gap, 0.0)
        kept = np.exp(-window_s / rules.burst_tau_s)[rows.pool]
        burst = kept * state.burst + (1.0 - kept) * excess
    return Owed(debt, burst, gap, tau_s, np.zeros_like(used), np.zeros_like(wanted), np.zeros_like(window_s))


def weigh(given: TickInput, measured: Measured, owed: Owed, bound: Flags) -> tuple[TickExplain, Floats]:
    """Weight and its terms; the mean SLO target is taken over the bound entitlements of the pool."""
    rows, rules = given.entitlements, given.settings
    count = given.pools.capacity.shape[0]
    total = np.bincount(rows.pool, weights=rows.slo_ms * bound, minlength=count)
    members = np.bincount(rows.pool, weights=bound, minlength=count)
    mean = np.divide(total, members, out=np.zeros(count), where=members > 0)[rows.pool]
    ratio = np.divide(rows.slo_ms, mean, out=np.ones_like(rows.slo_ms), where=mean > 0)
    strict = rules.mode == "strict"
    slo_term = 1.0 + rules.factors.slo * (np.minimum(ratio, SLO_RATIO_LIMIT) if strict else ratio)
    burst_term = 1.0 + rules.factors.burst * owed.burst
    debt_term = debt_factors(owed.debt, rules.factors.debt) if strict else 1.0 + rules.factors.debt * owed.debt
    explain = TickExplain(ratio, slo_term, burst_term, debt_term, owed.gap, measured.average, owed.tau_s)
    weight: Floats = rows.class_weight / slo_term / burst_term * debt_term
    return explain, weight


def withhold(given: TickInput, measured: Measured, bound: Flags) -> tuple[Floats, Floats, Floats]:
    """Per rank-0 row [E,3]: what is never lent, what is held from others now, and the level stage 0 gives it."""
    rows = given.entitlements
    first = ((RANKS[rows.service_class] == 0) & bound)[:, None]
    lent = np.where(rows.service_class == ClassCode.DEDICATED, 0.0, rows.lendable)[:, None]
    base = np.where(first, rows.base, 0.0)
    recent = np.maximum(rows.recent_peak, measured.use)
    recent[:, 0] = measured.demand[:, 0]
    kept = np.minimum(base, recent + sequence(given)[rows.pool])
    holds = (1.0 - lent) * np.maximum(0.0, base - measured.use) + lent * np.maximum(0.0, kept - measured.use)
    reserve = np.maximum((1.0 - lent) * base + lent * kept, np.minimum(base, measured.demand))
    return kept, np.where(first, holds, 0.0), reserve


def sequence(given: TickInput) -> Floats:
    """One typical sequence per pool [P,3]: no tokens per second, its bytes, one slot."""
    kv_bytes = given.pools.sequence_kv_bytes
    return np.stack([np.zeros_like(kv_bytes), kv_bytes, np.ones_like(kv_bytes)], axis=1)


def per_pool(values: Floats, pool: Whole, count: int) -> Floats:
    """Sums of [E,3] per pool: [P,3]."""
    return np.stack([np.bincount(pool, weights=values[:, d], minlength=count) for d in range(3)], axis=1)
