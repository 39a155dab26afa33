"""Made-up shards of contended pools for the tick benchmark: the same numbers as arrays and as plain rows."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from pools.mechanism.ordering import ClassCode, Floats, StateCode
from pools.mechanism.tick_reference import Row, Written, tick_pool
from pools.mechanism.tick_types import EntitlementColumns, PoolColumns, TickInput, TickState

CLASS_WEIGHTS = np.array([1000.0, 1000.0, 100.0, 1.0, 0.1])
KV = 2_097_152.0
WINDOW_S = 4.0


def levels(slots: Floats) -> Floats:
    """(tokens/s, bytes, sequences) [n, 3] of so many slots."""
    return np.stack([15.0 * slots, KV * slots, slots], axis=1)


def shard(entitlements: int, per_pool: int, seed: int = 7) -> TickInput:
    """Pools of ``per_pool`` entitlements of all classes, asked for more than they have, mid-way through their lives."""
    dice = np.random.default_rng(seed)
    n = entitlements
    pool = np.arange(n, dtype=np.int64) // per_pool
    count = int(pool[-1]) + 1
    kind = dice.choice(5, n, p=[0.05, 0.15, 0.4, 0.25, 0.15])
    base = np.where(kind <= ClassCode.ELASTIC, dice.integers(1, 12, n), 0).astype(np.float64)
    cap = np.where(kind == ClassCode.GUARANTEED, base, np.where(base > 0, 2 * base, dice.integers(1, 20, n)))
    busy = np.floor(cap * dice.random(n))
    ones = np.ones(n)
    columns = EntitlementColumns(
        pool=pool,
        service_class=kind,
        state=np.full(n, int(StateCode.BOUND)),
        class_weight=CLASS_WEIGHTS[kind],
        base=levels(base),
        cap=levels(cap),
        lendable=0.5 * (kind == ClassCode.GUARANTEED),
        slo_ms=dice.choice([100.0, 500.0, 30_000.0], n),
        largest_cost_tokens=512 * ones,
        in_flight=levels(busy) * np.array([8.0, 1.0, 1.0]),
        recent_peak=levels(busy),
        used=levels(busy * dice.random(n)),
        offered_tokens=dice.integers(0, 4000, n).astype(np.float64),
        refused=dice.integers(0, 3, n).astype(np.float64),
        mean_cost_tokens=128 * ones,
        work_ratio=0.8 * ones,
        mean_kv_bytes=KV * ones,
        mean_service_s=4 * ones,
    )
    fresh = TickState.fresh(n, count)
    state = TickState(
        debt=np.where(kind == ClassCode.ELASTIC, dice.uniform(-1, 1, n), 0.0),
        burst=dice.random(n),
        demand=levels(cap * dice.random(n)),
        since_refused_s=fresh.since_refused_s,
        window_used=WINDOW_S * levels(busy),
        window_wanted=ones,
        window_s=np.full(count, WINDOW_S),
        rotation=3,
    )
    promised = np.bincount(pool, weights=base, minlength=count)
    pools = PoolColumns(levels(np.ceil(promised * 1.1)), np.full(count, KV), np.full(count, 4.0))
    return TickInput(columns, pools, state, 1.0, True)


def plain_rows(given: TickInput) -> list[list[Row]]:
    """The same shard as plain rows, pool by pool."""
    columns = {item.name: getattr(given.entitlements, item.name).tolist() for item in fields(EntitlementColumns)}
    columns |= {
        "debt": given.state.debt.tolist(),
        "burst": given.state.burst.tolist(),
        "smoothed": given.state.demand.tolist(),
        "since_refused_s": given.state.since_refused_s.tolist(),
        "window_used": given.state.window_used.tolist(),
        "window_wanted": given.state.window_wanted.tolist(),
    }
    pool = columns.pop("pool")
    grouped: list[list[Row]] = [[] for _ in range(given.pools.capacity.shape[0])]
    for values in zip(pool, *columns.values(), strict=True):
        grouped[values[0]].append(Row(**dict(zip(columns, values[1:], strict=True))))
    return grouped


def plain_tick(given: TickInput, rows: list[list[Row]]) -> list[Written]:
    """One tick of the shard by the scalar reference."""
    written: list[Written] = []
    for place, members in enumerate(rows):
        tokens, kv_bytes, sequences = given.pools.capacity[place].tolist()
        written += tick_pool(
            members, (tokens, kv_bytes, sequences), KV, 4.0, WINDOW_S, 1.0, True, given.state.rotation, given.settings
        )
    return written
