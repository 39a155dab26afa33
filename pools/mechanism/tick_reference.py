"""The tick said one entitlement at a time, from the scalar formulas: slow, plain, and what the fast one must equal.

Source: Token Pools design.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pools.mechanism import debt as owing
from pools.mechanism import limits, ordering, paper
from pools.mechanism.measures import ewma
from pools.mechanism.ordering import ClassCode, StateCode
from pools.mechanism.tick_types import NEVER_S, PATIENCE_S, TickSettings

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One entitlement: the columns of ``EntitlementColumns`` and its part of ``TickState``, as plain numbers."""

    service_class: int
    state: int
    class_weight: float
    base: Triple
    cap: Triple
    lendable: float
    slo_ms: float
    largest_cost_tokens: float
    in_flight: Triple
    recent_peak: Triple
    used: Triple
    offered_tokens: float
    refused: float
    mean_cost_tokens: float
    work_ratio: float
    mean_kv_bytes: float
    mean_service_s: float
    debt: float = 0.0
    burst: float = 0.0
    smoothed: Triple = (0.0, 0.0, 0.0)
    since_refused_s: float = NEVER_S
    window_used: Triple = (0.0, 0.0, 0.0)
    window_wanted: float = 0.0


@dataclass(frozen=True, slots=True)
class Written:
    """What the tick writes for one entitlement; names as in ``TickResult``."""

    limit: Triple
    assured: Triple
    bucket_size: float
    weight: float
    debt: float
    burst: float
    demand: Triple
    kept: Triple
    holds: Triple
    stages: tuple[Triple, ...]


def _triple(values: Sequence[float]) -> Triple:
    return (values[0], values[1], values[2])


def tick_pool(
    rows: Sequence[Row],
    capacity: Triple,
    sequence_kv_bytes: float,
    mean_service_s: float,
    window_s: float,
    elapsed_s: float,
    debt_step: bool,
    rotation: int,
    rules: TickSettings,
) -> list[Written]:
    """One pool's tick. ``window_s`` is the time since the last debt step before this tick."""
    seen = [_demand(row, elapsed_s, rules) for row in rows]
    tau_s = owing.debt_tau_s(rules.limit_interval_s, mean_service_s, rules.smallest_debt_tau_s)
    moved = [
        _owed(row, levels, window_s + elapsed_s, elapsed_s, tau_s, rules) if debt_step else (row.debt, row.burst)
        for row, levels in zip(rows, seen, strict=True)
    ]
    targets = [row.slo_ms for row in rows if row.state == StateCode.BOUND]
    mean_slo_ms = sum(targets) / len(targets) if targets else 0.0
    weights = [_weight(row, mean_slo_ms, *pair, rules) for row, pair in zip(rows, moved, strict=True)]
    withheld = [_withhold(row, levels, sequence_kv_bytes) for row, levels in zip(rows, seen, strict=True)]
    bound = [i for i, row in enumerate(rows) if row.state == StateCode.BOUND]
    claims = [
        limits.Claim(
            rows[i].service_class,
            weights[i],
            rows[i].base,
            _reference(rows[i]),
            rows[i].cap,
            seen[i][1],
            withheld[i][2],
        )
        for i in bound
    ]
    draining = [sum(row.base[d] for row in rows if row.state == StateCode.DRAINING) for d in range(3)]
    room = [max(0.0, capacity[d] - draining[d]) for d in range(3)]
    given = limits.stages(claims, room, rules.fill == "drf") if rules.mode == "strict" else []
    totals = [_triple([sum(stage[k][d] for stage in given) for d in range(3)]) for k in range(len(bound))]
    place = {i: k for k, i in enumerate(bound)}
    slots = limits.whole_slots([total[2] for total in totals], [moved[i][0] for i in bound], rotation)
    result = []
    for i, row in enumerate(rows):
        limit, parts = (0.0, 0.0, 0.0), tuple((0.0, 0.0, 0.0) for _ in range(6))
        if row.state == StateCode.BOUND and rules.mode == "paper":
            limit = _reference(row)
        elif row.state == StateCode.BOUND:
            k = place[i]
            limit = (totals[k][0], math.floor(totals[k][1] + 1e-6), slots[k])
            parts = tuple(_triple(stage[k]) for stage in given)
        first = ordering.RANK_OF_CLASS[row.service_class] == 0 and row.state == StateCode.BOUND
        assured = _triple([max(a, b) for a, b in zip(limit, row.base, strict=True)]) if first else limit
        bucket = max(rules.bucket_seconds * assured[0], row.largest_cost_tokens)
        kept, holds, _ = withheld[i]
        result.append(Written(limit, assured, bucket, weights[i], *moved[i], seen[i][1], kept, holds, parts))
    return result


def _reference(row: Row) -> Triple:
    return _triple([base if base > 0 else cap for base, cap in zip(row.base, row.cap, strict=True)])


def _use(row: Row, elapsed_s: float) -> Triple:
    return (max(0.0, row.used[0] / elapsed_s), row.in_flight[1], row.in_flight[2])


def _demand(row: Row, elapsed_s: float, rules: TickSettings) -> tuple[Triple, Triple, Triple]:
    """(use, demand, smoothed offers), all levels."""
    asked = row.offered_tokens / elapsed_s
    in_flight = asked / row.mean_cost_tokens * row.mean_service_s if row.mean_cost_tokens > 0 else 0.0
    offered = (asked * row.work_ratio, in_flight * row.mean_kv_bytes, in_flight)
    smoothed = _triple([ewma(row.smoothed[d], offered[d], elapsed_s, rules.demand_tau_s) for d in range(3)])
    use = _use(row, elapsed_s)
    demand = _triple([max(use[d], row.used[d] / elapsed_s, smoothed[d]) for d in range(3)])
    return use, demand, smoothed


def _owed(
    row: Row,
    levels: tuple[Triple, Triple, Triple],
    window_s: float,
    elapsed_s: float,
    tau_s: float,
    rules: TickSettings,
) -> tuple[float, float]:
    bound = row.state == StateCode.BOUND
    average = _triple([max(0.0, (row.window_used[d] + row.used[d]) / window_s) for d in range(3)])
    excess = owing.burst_excess(average, _reference(row)) if bound else 0.0
    base = row.base[0]
    if rules.mode == "paper":
        kept = paper.KEPT_PER_STEP ** (window_s / paper.STEP_S)
        gap = paper.gap(base, average[0]) if base > 0 and bound else 0.0
        return kept * row.debt + (1 - kept) * gap, kept * row.burst + (1 - kept) * excess
    burst = owing.burst_step(row.burst, excess, window_s, rules.burst_tau_s)
    if row.service_class != ClassCode.ELASTIC:
        return 0.0, burst
    since = 0.0 if row.refused > 0 else row.since_refused_s + elapsed_s
    wanted = row.window_wanted or row.offered_tokens or row.refused or row.in_flight[2] or row.used[0]
    owed = bool(wanted) and since <= PATIENCE_S
    gap = owing.service_gap(base, levels[1][0], average[0], math.inf if owed else 0.0) if bound else 0.0
    return owing.debt_step(row.debt, gap, window_s, tau_s), burst


def _weight(row: Row, mean_slo_ms: float, debt: float, burst: float, rules: TickSettings) -> float:
    ratio = row.slo_ms / mean_slo_ms if mean_slo_ms > 0 else 1.0
    if rules.mode == "paper":
        return paper.weight(row.class_weight, ratio, burst, debt)
    return ordering.weight(row.class_weight, ratio, burst, debt, rules.factors)


def _withhold(
    row: Row, levels: tuple[Triple, Triple, Triple], sequence_kv_bytes: float
) -> tuple[Triple, Triple, Triple]:
    """(kept, holds, reserve) per dimension; zeros for anyone but a bound rank-0 row."""
    nothing = (0.0, 0.0, 0.0)
    if ordering.RANK_OF_CLASS[row.service_class] != 0 or row.state != StateCode.BOUND:
        return nothing, nothing, nothing
    use, demand, _ = levels
    lent = 0.0 if row.service_class == ClassCode.DEDICATED else row.lendable
    sequence = (0.0, sequence_kv_bytes, 1.0)
    kept, holds, reserve = [], [], []
    for d in range(3):
        recent = demand[0] if d == 0 else max(row.recent_peak[d], use[d])
        keep = min(row.base[d], recent + sequence[d])
        kept.append(keep)
        holds.append(hold(row.base[d], keep, use[d], lent))
        reserve.append(max((1.0 - lent) * row.base[d] + lent * keep, min(row.base[d], demand[d])))
    return _triple(kept), _triple(holds), _triple(reserve)


def hold(base: float, kept: float, use: float, lendable: float) -> float:
    """(1 - lendable) x max(0, base - use) + lendable x max(0, kept - use): what a reserve withholds from others now."""
    return (1.0 - lendable) * max(0.0, base - use) + lendable * max(0.0, kept - use)
