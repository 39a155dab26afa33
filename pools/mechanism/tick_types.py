"""What the tick reads and what it writes: columns over entitlements and pools, all numpy arrays.

One call serves every entitlement of a shard of several pools. E = entitlements, P = pools, and the last axis of an
``[E, 3]`` or ``[P, 3]`` array is always (tokens, KV-cache bytes, concurrency). Rows must be grouped by pool: ``pool``
may never decrease. Levels of the token dimension are tokens per second; of the other two, bytes and sequences in
flight.

Source: Token Pools design.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np

from pools.mechanism.ordering import Floats, WeightFactors, Whole

NEVER_S = 1e9
PATIENCE_S = 60.0
"""The longest Retry-After: who was refused within it may still be waiting politely."""
STAGES = ("reserve", "baseline", "surplus", "spot", "preemptible", "headroom")


@dataclass(frozen=True, slots=True)
class TickSettings:
    """What an operator may tune; the defaults are the design's.

    ``mode`` strict is the design, paper the literal formulas (comparison only). ``fill`` max_min treats each
    dimension by itself, drf equalises weighted dominant shares. Seconds everywhere. Raises ValueError for a value out
    of its range.
    """

    mode: Literal["strict", "paper"] = "strict"
    fill: Literal["max_min", "drf"] = "max_min"
    factors: WeightFactors = field(default_factory=WeightFactors)
    limit_interval_s: float = 1.0
    debt_interval_s: float = 5.0
    smallest_debt_tau_s: float = 14.0
    burst_tau_s: float = 14.0
    demand_tau_s: float = 5.0
    contended_share: float = 0.06
    bucket_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.mode not in ("strict", "paper") or self.fill not in ("max_min", "drf"):
            raise ValueError(f"mode is strict or paper, fill is max_min or drf; got {self.mode!r}, {self.fill!r}")
        seconds = (self.limit_interval_s, self.debt_interval_s, self.smallest_debt_tau_s, self.burst_tau_s)
        if min(*seconds, self.demand_tau_s, self.bucket_seconds) <= 0 or not 0 <= self.contended_share < 1:
            raise ValueError(f"intervals must be above 0 and the contended share in [0, 1): {self}")


@dataclass(frozen=True, slots=True)
class EntitlementColumns:
    """One row per entitlement, grouped by pool.

    Promises: ``pool`` [E] index into :class:`PoolColumns`; ``service_class`` [E] ClassCode; ``state`` [E] StateCode;
    ``class_weight`` [E]; ``base`` and ``cap`` [E,3]; ``lendable`` [E] share of the idle reserve that may be lent (0..1,
    taken as 0 for dedicated); ``slo_ms`` [E]; ``largest_cost_tokens`` [E] largest admissible request, for the bucket
    size.

    Measured since the previous tick: ``in_flight`` [E,3] now (reserved tokens, bytes, sequences); ``recent_peak`` [E,3]
    largest in flight in the last 60 s (tokens unused); ``used`` [E,3] work done (tokens served, byte-seconds,
    sequence-seconds; negative where a settlement put right what was counted too high, which counts against the window);
    ``offered_tokens`` [E] reserved size of what was asked for, refused or not, each request id once;
    ``refused`` [E] refusals that a retry may cure, repeats included. Typical request: ``mean_cost_tokens`` [E] tokens
    reserved, ``work_ratio`` [E] tokens really used per token reserved (1 when unknown), ``mean_kv_bytes`` [E] bytes
    of one sequence, ``mean_service_s`` [E] seconds it runs; a mean of 0 (never seen) leaves that demand to what is in
    flight.
    """

    pool: Whole
    service_class: Whole
    state: Whole
    class_weight: Floats
    base: Floats
    cap: Floats
    lendable: Floats
    slo_ms: Floats
    largest_cost_tokens: Floats
    in_flight: Floats
    recent_peak: Floats
    used: Floats
    offered_tokens: Floats
    refused: Floats
    mean_cost_tokens: Floats
    work_ratio: Floats
    mean_kv_bytes: Floats
    mean_service_s: Floats


@dataclass(frozen=True, slots=True)
class PoolColumns:
    """One row per pool: ``capacity`` [P,3] of the READY replicas; ``sequence_kv_bytes`` [P] bytes of one typical
    sequence; ``mean_service_s`` [P] seconds one request runs, the lag of the debt loop."""

    capacity: Floats
    sequence_kv_bytes: Floats
    mean_service_s: Floats


@dataclass(frozen=True, slots=True)
class TickState:
    """What one tick hands to the next; the caller keeps it (``tick_state`` packs it into bytes and aligns it).

    ``debt``, ``burst`` [E]; ``demand`` [E,3] smoothed offered levels; ``since_refused_s`` [E] seconds since the last
    refusal; ``window_used`` [E,3], ``window_wanted`` [E] (1 where anything was asked for or in flight) and
    ``window_s`` [P] since the last debt step; ``rotation`` the tick's number, which moves ties on.
    """

    debt: Floats
    burst: Floats
    demand: Floats
    since_refused_s: Floats
    window_used: Floats
    window_wanted: Floats
    window_s: Floats
    rotation: int

    @classmethod
    def fresh(cls, entitlements: int, pools: int) -> TickState:
        """The state of a shard that never ticked."""
        return cls(
            debt=np.zeros(entitlements),
            burst=np.zeros(entitlements),
            demand=np.zeros((entitlements, 3)),
            since_refused_s=np.full(entitlements, NEVER_S),
            window_used=np.zeros((entitlements, 3)),
            window_wanted=np.zeros(entitlements),
            window_s=np.zeros(pools),
            rotation=0,
        )


@dataclass(frozen=True, slots=True)
class TickInput:
    """Everything one tick reads. ``elapsed_s`` is the real time since the previous tick (one number, or [P] where
    pools tick apart), ``debt_step`` whether debt and burst move this time (about every 5 s). Raises ValueError for
    columns of unequal length, a state of another shard, rows not grouped by pool, or no time elapsed."""

    entitlements: EntitlementColumns
    pools: PoolColumns
    state: TickState
    elapsed_s: float | Floats
    debt_step: bool
    settings: TickSettings = field(default_factory=TickSettings)

    def __post_init__(self) -> None:
        rows, count = self.entitlements.pool.shape[0], self.pools.capacity.shape[0]
        if np.any(np.asarray(self.elapsed_s) <= 0):
            raise ValueError(f"elapsed_s must be above 0, got {self.elapsed_s}")
        for item in fields(self.entitlements):
            if getattr(self.entitlements, item.name).shape[0] != rows:
                raise ValueError(f"column {item.name} must have {rows} rows")
        if self.state.debt.shape[0] != rows or self.state.window_s.shape[0] != count:
            raise ValueError(f"the state does not belong to {rows} entitlements and {count} pools: align it first")
        if rows and (self.entitlements.pool[0] < 0 or self.entitlements.pool[-1] >= count):
            raise ValueError(f"pool indexes must lie in 0..{count - 1}")
        if np.any(np.diff(self.entitlements.pool) < 0):
            raise ValueError("entitlements must be grouped by pool: sort the rows by pool index")


@dataclass(frozen=True, slots=True)
class TickExplain:
    """The numbers behind a weight and a debt, so that a page can show the formula filled in. All [E].

    weight = class_weight / slo_term / burst_term x debt_term; gap is the service gap of this window (0 between debt
    steps); ``average`` [E,3] and ``demand`` are levels; ``debt_tau_s`` [P] the time constant the debt moves with.
    """

    slo_ratio: Floats
    slo_term: Floats
    burst_term: Floats
    debt_term: Floats
    gap: Floats
    average: Floats
    debt_tau_s: Floats


@dataclass(frozen=True, slots=True)
class TickResult:
    """Everything the tick writes.

    Per entitlement: ``limit`` [E,3] (per pool their sum never exceeds capacity; sequences whole); ``assured`` [E,3] =
    max(limit, base) for rank 0, else limit: what the owner can count on although part of it may be lent at the moment;
    ``refill`` [E] tokens/s into the bucket (= assured tokens); ``bucket_size`` [E] tokens; ``weight``, ``debt``,
    ``burst`` [E]; ``demand`` [E,3]; ``kept`` [E,3] rank 0: min(base, recent peak + one sequence), the part of the
    reserve that is never lent; ``holds`` [E,3] what it withholds from others now; ``headroom`` [E,3] = max(0, assured
    - use). Per pool: ``hold`` [P,3] = sum of holds + draining leases, ``hold_preemptible`` [P,3] the same for a
    preemptible asker (dedicated and draining only), ``contended_enter`` / ``contended_leave`` [P,3] levels of use,
    ``use`` [P,3], ``pool_headroom`` [P,3] = max(0, capacity - hold - use), ``stages`` [E,6,3] what each stage of the
    fill gave (reserve, baseline, surplus dedicated+elastic, spot, preemptible, head-room).
    """

    limit: Floats
    assured: Floats
    refill: Floats
    bucket_size: Floats
    weight: Floats
    debt: Floats
    burst: Floats
    demand: Floats
    kept: Floats
    holds: Floats
    headroom: Floats
    hold: Floats
    hold_preemptible: Floats
    contended_enter: Floats
    contended_leave: Floats
    use: Floats
    pool_headroom: Floats
    stages: Floats
    explain: TickExplain
    state: TickState
