"""What would change an entitlement's weight and limits: the tick run again with one thing different, never guessed.

Everything else stays as it is at this moment, demand of the others included; a longer look is the simulator's business.
Source: Token Pools design.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pools.mechanism.explain import Triple, standing
from pools.mechanism.ordering import Floats
from pools.mechanism.tick import tick
from pools.mechanism.tick_types import TickInput, TickResult

Kind = Literal["slo", "calm", "repaid", "base", "cap", "demand_up", "demand_down", "replica"]
SLO_STEPS_MS = (100.0, 250.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 30_000.0)
NOTICEABLE = 0.005


@dataclass(frozen=True, slots=True)
class WhatIf:
    """One change and what follows. ``value`` is what was changed to (ms, a factor, or a share; 0 where there is none);
    ``weight_ratio`` = weight then / weight now; limits are the assured ones, before and after."""

    kind: Kind
    value: float
    weight_ratio: float
    before: Triple
    after: Triple

    @property
    def moves(self) -> bool:
        """Whether anything changes noticeably."""
        return abs(self.weight_ratio - 1.0) > NOTICEABLE or any(
            abs(then - now) > NOTICEABLE * max(1.0, now) for now, then in zip(self.before, self.after, strict=True)
        )


def what_ifs(given: TickInput, result: TickResult, row: int, replicas: int) -> list[WhatIf]:
    """Every change that applies to this entitlement; ``replicas`` that are ready now, 0 when unknown."""
    rest = standing(given, result)
    now = tick(rest)
    made = []
    for kind, value, change in _changes(rest, now, row, replicas):
        then = tick(change)
        made.append(
            WhatIf(
                kind,
                value,
                float(then.weight[row] / now.weight[row]),
                *(_triple(one.assured[row]) for one in (now, then)),
            )
        )
    return made


def _changes(given: TickInput, now: TickResult, row: int, replicas: int) -> Iterator[tuple[Kind, float, TickInput]]:
    rows = given.entitlements
    slo = float(rows.slo_ms[row])
    tighter = max((step for step in SLO_STEPS_MS if step < slo), default=slo / 2)
    yield "slo", tighter, _column(given, row, "slo_ms", lambda value: tighter)
    if now.burst[row] > NOTICEABLE:
        yield "calm", 0.0, _state(given, row, "burst", 0.0)
    if abs(now.debt[row]) > NOTICEABLE:
        yield "repaid", 0.0, _state(given, row, "debt", 0.0)
    if rows.base[row].any():
        yield "base", 1.25, _base(given, row, 1.25)
    yield "cap", 1.5, _column(given, row, "cap", lambda value: 1.5 * value)
    yield "demand_up", 1.5, _demand(given, now, row, 1.5)
    yield "demand_down", 0.5, _demand(given, now, row, 0.5)
    if replicas > 0:
        pools = replace(given.pools, capacity=given.pools.capacity * (replicas + 1) / replicas)
        yield "replica", float(replicas + 1), replace(given, pools=pools)


def _column(given: TickInput, row: int, name: str, change: Callable[[Floats], Floats | float]) -> TickInput:
    values = getattr(given.entitlements, name).copy()
    values[row] = change(values[row])
    return replace(given, entitlements=replace(given.entitlements, **{name: values}))


def _base(given: TickInput, row: int, factor: float) -> TickInput:
    """A larger promise; the cap grows with it, as a multiple of the base does."""
    return _column(_column(given, row, "base", lambda value: factor * value), row, "cap", lambda value: factor * value)


def _state(given: TickInput, row: int, name: str, value: float) -> TickInput:
    values = getattr(given.state, name).copy()
    values[row] = value
    return replace(given, state=replace(given.state, **{name: values}))


def _demand(given: TickInput, now: TickResult, row: int, factor: float) -> TickInput:
    """Demand of one entitlement times a factor; what is in use is the least it can be.

    Smoothed offers = kept x before + (1 − kept) x offered, so the level before is what must be changed.
    """
    elapsed_s = np.broadcast_to(np.asarray(given.elapsed_s, dtype=np.float64), given.state.window_s.shape)
    kept = math.exp(-float(elapsed_s[given.entitlements.pool[row]]) / given.settings.demand_tau_s)
    before = given.state.demand.copy()
    offered = now.state.demand[row] - kept * before[row]
    before[row] = np.maximum(0.0, (factor * now.demand[row] - offered) / kept)
    return replace(given, state=replace(given.state, demand=before))


def _triple(values: Floats) -> Triple:
    return (float(values[0]), float(values[1]), float(values[2]))
