"""Made-up shards for the tick's tests: the same world as rows (scalar reference) and as columns (vectorised tick)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from hypothesis import strategies as st

from pools.mechanism.tick import tick
from pools.mechanism.tick_reference import Row, Triple, Written, tick_pool
from pools.mechanism.tick_types import (
    EntitlementColumns,
    PoolColumns,
    TickInput,
    TickResult,
    TickSettings,
    TickState,
)

WHOLE = ("service_class", "state")
CLASS_WEIGHTS = (1000.0, 1000.0, 100.0, 1.0, 0.1)
KV = 2_097_152.0
BOUND = 2


@dataclass(frozen=True)
class World:
    """Pools of rows, and everything else one tick reads."""

    pools: tuple[tuple[Row, ...], ...]
    capacity: tuple[Triple, ...]
    mean_service_s: float = 4.0
    window_s: float = 4.0
    elapsed_s: float = 1.0
    debt_step: bool = True
    rotation: int = 0
    rules: TickSettings = field(default_factory=TickSettings)

    @property
    def rows(self) -> list[Row]:
        return [row for pool in self.pools for row in pool]

    def as_input(self) -> TickInput:
        rows = self.rows
        columns = {}
        for item in fields(EntitlementColumns):
            if item.name == "pool":
                member = [p for p, pool in enumerate(self.pools) for _ in pool]
                columns["pool"] = np.array(member, dtype=np.int64)
                continue
            kind = np.int64 if item.name in WHOLE else np.float64
            shape = (len(rows), 3) if isinstance(getattr(row0(), item.name), tuple) else (len(rows),)
            columns[item.name] = np.array([getattr(row, item.name) for row in rows], dtype=kind).reshape(shape)
        count = len(self.pools)
        state = TickState(
            debt=np.array([row.debt for row in rows]),
            burst=np.array([row.burst for row in rows]),
            demand=np.array([row.smoothed for row in rows]).reshape(len(rows), 3),
            since_refused_s=np.array([row.since_refused_s for row in rows]),
            window_used=np.array([row.window_used for row in rows]).reshape(len(rows), 3),
            window_wanted=np.array([row.window_wanted for row in rows]),
            window_s=np.full(count, self.window_s),
            rotation=self.rotation,
        )
        pools = PoolColumns(
            np.array(self.capacity, dtype=np.float64).reshape(count, 3),
            np.full(count, KV),
            np.full(count, self.mean_service_s),
        )
        return TickInput(EntitlementColumns(**columns), pools, state, self.elapsed_s, self.debt_step, self.rules)

    def fast(self) -> TickResult:
        return tick(self.as_input())

    def slow(self) -> list[Written]:
        return [
            one
            for rows, capacity in zip(self.pools, self.capacity, strict=True)
            for one in tick_pool(
                rows,
                capacity,
                KV,
                self.mean_service_s,
                self.window_s,
                self.elapsed_s,
                self.debt_step,
                self.rotation,
                self.rules,
            )
        ]


def row0(**changes: object) -> Row:
    """An idle bound elastic row of 5 slots, to be changed."""
    usual: dict[str, object] = {
        "service_class": 2,
        "state": BOUND,
        "class_weight": 100.0,
        "base": (75.0, 5 * KV, 5.0),
        "cap": (150.0, 10 * KV, 10.0),
        "lendable": 0.0,
        "slo_ms": 500.0,
        "largest_cost_tokens": 512.0,
        "in_flight": (0.0, 0.0, 0.0),
        "recent_peak": (0.0, 0.0, 0.0),
        "used": (0.0, 0.0, 0.0),
        "offered_tokens": 0.0,
        "refused": 0.0,
        "mean_cost_tokens": 128.0,
        "work_ratio": 1.0,
        "mean_kv_bytes": KV,
        "mean_service_s": 4.0,
    }
    return Row(**(usual | changes))  # type: ignore[arg-type]


def _scaled(slots: float) -> Triple:
    return (15.0 * slots, KV * slots, float(slots))


@st.composite
def row_worlds(draw: st.DrawFn) -> Row:
    """Any entitlement: every class and state, idle to flooded, with debt and burst from before."""
    service_class = draw(st.integers(0, 4))
    slots = draw(st.integers(1, 12)) if service_class <= 2 else 0
    factor = 1 if service_class == 1 else draw(st.integers(1, 3))
    cap = slots * factor if slots else draw(st.integers(1, 20))
    busy = draw(st.integers(0, cap))
    peak = draw(st.integers(busy, cap))
    corrected = draw(st.sampled_from((0.9, 0.9, -0.4)))  # a settlement may take back work counted too early
    signed = st.floats(-1, 1, allow_nan=False).map(lambda value: round(value, 6))
    return row0(
        service_class=service_class,
        state=draw(st.sampled_from((BOUND, BOUND, BOUND, BOUND, 0, 1, 3, 4, 5))),
        class_weight=CLASS_WEIGHTS[service_class],
        base=_scaled(slots),
        cap=_scaled(cap),
        lendable=draw(st.sampled_from((0.0, 0.5, 1.0, 0.3))),
        slo_ms=draw(st.sampled_from((100.0, 500.0, 5000.0, 30000.0))),
        in_flight=(128.0 * busy, KV * busy, float(busy)),
        recent_peak=(0.0, KV * peak, float(peak)),
        used=tuple(share * amount for share, amount in zip((corrected, 0.8, 1.1), _scaled(busy), strict=True)),
        offered_tokens=float(draw(st.integers(0, 4000))),
        refused=float(draw(st.integers(0, 3))),
        mean_cost_tokens=draw(st.sampled_from((0.0, 64.0, 128.0))),
        work_ratio=draw(st.sampled_from((1.0, 0.4))),
        debt=draw(signed),
        burst=draw(st.floats(0, 3)),
        smoothed=_scaled(draw(st.integers(0, 20))),
        since_refused_s=draw(st.sampled_from((0.0, 30.0, 70.0, 1e9))),
        window_used=tuple(4 * amount for amount in _scaled(draw(st.integers(0, cap)))),
        window_wanted=draw(st.sampled_from((0.0, 1.0))),
    )


@st.composite
def worlds(draw: st.DrawFn, modes: Sequence[str] = ("strict",), fills: Sequence[str] = ("max_min",)) -> World:
    """Any shard of up to 4 pools, empty ones among them, with any capacity including none."""
    pools = draw(st.lists(st.lists(row_worlds(), max_size=7).map(tuple), min_size=1, max_size=4))
    capacity = tuple(_scaled(draw(st.integers(0, 60))) for _ in pools)
    return World(
        pools=tuple(pools),
        capacity=capacity,
        mean_service_s=draw(st.sampled_from((1.0, 4.0, 20.0))),
        window_s=draw(st.sampled_from((0.0, 4.0))),
        elapsed_s=draw(st.sampled_from((0.25, 1.0, 7.0))),
        debt_step=draw(st.booleans()),
        rotation=draw(st.integers(0, 9)),
        rules=TickSettings(mode=draw(st.sampled_from(modes)), fill=draw(st.sampled_from(fills))),  # type: ignore[arg-type]
    )
