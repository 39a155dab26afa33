"""How fairly one pool served its promises at one moment: by tokens, among those who asked for any.

Demand is smoothed and never below use, so it runs ahead of what was served wherever requests come in lumps. As with
debt, only who was turned away lately can have been served too little.

Source: Jain's index from Jain, Chiu and Hawe (1984); what it is taken over is Token Pools design.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pools.mechanism.measures import dispersion, jain_index, satisfied_fraction
from pools.mechanism.ordering import Floats, StateCode
from pools.mechanism.tick_types import PATIENCE_S, TickInput, TickResult

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fairness:
    """``satisfied`` [E] = served / min(demand, base), 0..1 (1 for who asked for nothing promised, and for who was not
    turned away). Over the ``active`` ones, those with a base who ask: ``mean_satisfied`` 0..1; ``jain`` of the
    satisfied fractions, 1/n..1; ``dispersion`` of tokens served per token promised (standard deviation / mean, 0 =
    alike)."""

    satisfied: Floats
    active: int
    mean_satisfied: float
    jain: float
    dispersion: float


def window_use(given: TickInput) -> Floats:
    """Average use over the debt window that ends with this tick: [E,3] levels. A second alone is too lumpy to judge."""
    windows_s = given.state.window_s + given.elapsed_s
    used = given.state.window_used + given.entitlements.used
    average: Floats = np.maximum(0.0, used / windows_s[given.entitlements.pool][:, None])
    return average


def promised(given: TickInput) -> Floats:
    """The bases of what is bound, nothing for the others: [E,3]."""
    rows = given.entitlements
    bases: Floats = rows.base * (rows.state == StateCode.BOUND)[:, None]
    return bases


def tick_fairness(given: TickInput, result: TickResult, rows: slice) -> Fairness:
    """:func:`fairness` of some rows (one pool's) at a tick."""
    turned_away = result.state.since_refused_s[rows] <= PATIENCE_S
    return fairness(window_use(given)[rows, 0], promised(given)[rows, 0], result.demand[rows, 0], turned_away)


def fairness(served: Floats, base: Floats, demand: Floats, turned_away: Flags) -> Fairness:
    """Measures of rates in tokens/s, each [E]; ``turned_away`` [E] marks who was refused within the longest patience
    (``tick_types.PATIENCE_S``). Nobody active counts as fair: 1, 1 and 0.

    A promise is owed only as far as it is asked for: min(demand, base). Raises ValueError for a negative rate.
    """
    if min(float(values.min(initial=0.0)) for values in (served, base, demand)) < 0:
        raise ValueError("rates must be 0 or more")
    due = np.minimum(base, demand)
    fraction = np.where(turned_away, satisfied_fraction(served, due), 1.0)
    asking = due > 0
    if not asking.any():
        return Fairness(fraction, 0, 1.0, 1.0, 0.0)
    mine = fraction[asking]
    return Fairness(
        fraction, int(asking.sum()), float(mine.mean()), jain_index(mine), dispersion(served[asking] / base[asking])
    )
