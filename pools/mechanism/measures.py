"""Small measures used by the tick, the pages and the checks: averages, fairness, head-room.

Source: EWMA and headroom from the paper; Jain's index from Jain, Chiu and Hawe (1984); the rest Token Pools design.
"""

from __future__ import annotations

import math

import numpy as np

from pools.mechanism.ordering import Floats


def kept_share(elapsed_s: float, tau_s: float) -> float:
    """Share of an old average that remains after ``elapsed_s``: exp(-elapsed / tau), in 0..1.

    Raises ValueError when tau is 0 or less, or time runs backwards.
    """
    if tau_s <= 0 or elapsed_s < 0:
        raise ValueError(f"tau_s must be above 0 and elapsed_s 0 or more, got {tau_s} and {elapsed_s}")
    return math.exp(-elapsed_s / tau_s)


def ewma(previous: float, sample: float, elapsed_s: float, tau_s: float) -> float:
    """Exponentially weighted moving average by real elapsed time: kept x previous + (1 - kept) x sample."""
    kept = kept_share(elapsed_s, tau_s)
    return kept * previous + (1.0 - kept) * sample


def jain_index(amounts: Floats) -> float:
    """Jain's fairness index of amounts [n]: (sum)^2 / (n x sum of squares), from 1/n (one takes all) to 1 (all equal).

    Nothing, or nobody receiving anything, counts as equal: 1.
    """
    values = np.asarray(amounts, dtype=np.float64)
    squares = float(np.dot(values, values))
    if values.size == 0 or squares == 0.0:
        return 1.0
    return float(values.sum()) ** 2 / (values.size * squares)


def satisfied_fraction(served: Floats, wanted: Floats) -> Floats:
    """Served over wanted per row, in 0..1; who wanted nothing is satisfied (1). Shapes [n] and [n]."""
    safe = np.where(wanted > 0, wanted, 1.0)
    return np.where(wanted > 0, np.clip(served / safe, 0.0, 1.0), 1.0)


def dispersion(amounts: Floats) -> float:
    """Coefficient of variation of amounts [n]: standard deviation / mean; 0 when empty or all zero."""
    values = np.asarray(amounts, dtype=np.float64)
    if values.size == 0 or not values.any():
        return 0.0
    return float(values.std() / values.mean())


def headroom(limit: Floats, use: Floats) -> Floats:
    """What is left below a limit, never negative: max(0, limit - use). Any one shape."""
    return np.maximum(0.0, limit - use)
