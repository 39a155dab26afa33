"""The periodic tick: from what was measured to the limits, holds and weights the hot path compares against.

Limits move every tick (about 1 s), debt and burst on debt steps (about 5 s), all by real elapsed time.
``tick_reference`` says the same one row at a time and is what the tests compare with.
Source: Token Pools design; debt, burst and weight from the paper.
"""

from __future__ import annotations

import numpy as np

from pools.mechanism.limits_arrays import ClaimArrays, Flags, Groups, stage_arrays, whole_slot_groups
from pools.mechanism.ordering import ClassCode, Floats, StateCode, Whole
from pools.mechanism.tick_steps import RANKS, Measured, Owed, measure, owe, per_pool, sequence, weigh, withhold
from pools.mechanism.tick_types import TickExplain, TickInput, TickResult, TickState


def tick(given: TickInput) -> TickResult:
    """One tick for every entitlement of a shard of pools. Shapes and units: ``tick_types``.

    1 measure demand; 2 move debt and burst; 3 weigh; 4 withhold the reserves; 5 fill the limits; 6 write thresholds.
    """
    rows, count = given.entitlements, given.pools.capacity.shape[0]
    bound = rows.state == StateCode.BOUND
    elapsed_s = np.broadcast_to(np.asarray(given.elapsed_s, dtype=np.float64), given.state.window_s.shape)
    reference = np.where(rows.base > 0, rows.base, rows.cap)
    measured = measure(given, elapsed_s)
    owed = owe(given, measured, elapsed_s, bound, reference)
    explain, weight = weigh(given, measured, owed, bound)
    kept, holds, reserve = withhold(given, measured, bound)
    draining = per_pool(rows.base * (rows.state == StateCode.DRAINING)[:, None], rows.pool, count)
    if given.settings.mode == "paper":
        limit, stages = np.where(bound[:, None], reference, 0.0), np.zeros((6, 3, bound.size))
    else:
        levels = (rows.base, reference, rows.cap, measured.demand, reserve)
        claims = ClaimArrays(rows.service_class, weight, *(np.ascontiguousarray(level.T) for level in levels))
        room = np.ascontiguousarray(np.maximum(0.0, given.pools.capacity - draining).T)
        stages = stage_arrays(claims, rows.pool, bound, room, given.settings.fill == "drf")
        limit = _whole(stages.sum(axis=0), owed.debt, bound, rows.pool, given.state.rotation)
    return _written(given, measured, owed, explain, bound, weight, (kept, holds, draining), (limit, stages))


def _written(
    given: TickInput,
    measured: Measured,
    owed: Owed,
    explain: TickExplain,
    bound: Flags,
    weight: Floats,
    withheld: tuple[Floats, Floats, Floats],
    filled: tuple[Floats, Floats],
) -> TickResult:
    """Everything the hot path compares against, and the state for the next tick."""
    rows, pools, rules = given.entitlements, given.pools, given.settings
    (kept, holds, draining), (limit, stages) = withheld, filled
    count = pools.capacity.shape[0]
    first = (RANKS[rows.service_class] == 0) & bound
    assured = np.where(first[:, None], np.maximum(limit, rows.base), limit)
    use = per_pool(measured.use, rows.pool, count)
    hold = per_pool(holds, rows.pool, count) + draining
    dedicated = (rows.service_class == ClassCode.DEDICATED)[:, None]
    margin = np.maximum(sequence(given), rules.contended_share * pools.capacity)
    return TickResult(
        limit=limit,
        assured=assured,
        refill=assured[:, 0].copy(),
        bucket_size=np.maximum(rules.bucket_seconds * assured[:, 0], rows.largest_cost_tokens),
        weight=weight,
        debt=owed.debt,
        burst=owed.burst,
        demand=measured.demand,
        kept=kept,
        holds=holds,
        headroom=np.maximum(0.0, assured - measured.use),
        hold=hold,
        hold_preemptible=per_pool(holds * dedicated, rows.pool, count) + draining,
        contended_enter=np.maximum(0.0, pools.capacity - margin),
        contended_leave=np.maximum(0.0, pools.capacity - 2.0 * margin),
        use=use,
        pool_headroom=np.maximum(0.0, pools.capacity - hold - use),
        stages=stages.transpose(2, 0, 1),
        explain=explain,
        state=TickState(
            debt=owed.debt,
            burst=owed.burst,
            demand=measured.smoothed,
            since_refused_s=measured.since_refused_s,
            window_used=owed.window_used,
            window_wanted=owed.window_wanted,
            window_s=owed.window_s,
            rotation=given.state.rotation + 1,
        ),
    )


def _whole(total: Floats, debt: Floats, bound: Flags, pool: Whole, rotation: int) -> Floats:
    """Limits [E,3] from fills [3,E]: whole bytes, whole slots by largest remainder, tokens per second as they are."""
    limit = np.ascontiguousarray(total.T)
    np.floor(limit[:, 1] + 1e-6, out=limit[:, 1])
    groups = Groups.of(pool, bound)
    if groups.rows.size:
        limit[groups.rows, 2] = whole_slot_groups(total[2, groups.rows], debt[groups.rows], rotation, groups)
    return limit
