"""Who was served less than promised: the service gap, the debt it feeds, the burst that weighs against, and their
stability.

Source: debt and burst as running averages are the paper's; real elapsed time, the demand bound, the refused bound and
the stability rule are Token Pools design.
"""

from __future__ import annotations

import math

from pools.mechanism.measures import kept_share
from pools.mechanism.ordering import debt_factor

TAU_PER_LAG = 2.2


def service_gap(base: float, demand: float, served: float, refused: float = math.inf) -> float:
    """g = clip((min(base, demand) - served) / base, -1, 1): positive when served less than promised and wanted. No
    unit.

    All rates in tokens/s. A positive gap never exceeds ``refused`` / base: a lumpy tenant that was never turned away is
    owed nothing, although its smoothed demand runs ahead of what was served. Who has no base is owed nothing (0).
    Raises ValueError for a negative rate.
    """
    if min(base, demand, served, refused) < 0:
        raise ValueError(f"rates must be 0 or more: base {base}, demand {demand}, served {served}, refused {refused}")
    if base == 0:
        return 0.0
    return min(max(min(min(base, demand) - served, refused) / base, -1.0), 1.0)


def debt_step(debt: float, gap: float, elapsed_s: float, tau_s: float) -> float:
    """d <- kept x d + (1 - kept) x g with kept = exp(-elapsed / tau). In -1..1 when the gaps are."""
    kept = kept_share(elapsed_s, tau_s)
    return kept * debt + (1.0 - kept) * gap


def burst_excess(average: tuple[float, float, float], reference: tuple[float, float, float]) -> float:
    """Sum over dimensions of max(0, actual / reference - 1); a dimension without reference adds nothing. Source:
    paper."""
    return sum(max(0.0, now / usual - 1.0) for now, usual in zip(average, reference, strict=True) if usual > 0)


def burst_step(burst: float, excess: float, elapsed_s: float, tau_s: float) -> float:
    """b <- kept x b + (1 - kept) x excess. Source: paper, by real elapsed time."""
    return debt_step(burst, excess, elapsed_s, tau_s)


def debt_tau_s(limit_interval_s: float, mean_service_s: float, smallest_s: float = 14.0) -> float:
    """The debt's time constant: max(smallest, 2.2 x lag) with lag = limit interval + mean service time, in seconds.

    The loop debt → weight → limit → service → debt is stable while lag < 0.471 x tau at a debt factor of 4;
    1 / 2.2 = 0.455 leaves a margin. Source: Token Pools design.
    """
    return max(smallest_s, TAU_PER_LAG * (limit_interval_s + mean_service_s))


def stable_lag_share(gain: float) -> float:
    """Largest lag / tau at which x' = -(x + gain x delayed x) / tau still settles: arccos(-1/gain) / sqrt(gain^2 - 1).

    0.471 at a gain of 4; without limit at a gain of 1 or less. Source: the classic delay equation (Hayes, 1950).
    """
    if gain <= 1.0:
        return math.inf
    return math.acos(-1.0 / gain) / math.sqrt(gain * gain - 1.0)


def fixed_point(weight_ratio: float, capacity_share: float, strength: float) -> tuple[float, float]:
    """Where two backlogged elastic tenants of equal base settle: shares (a1, a2) of base, a1 + a2 = ``capacity_share``.

    Solves a1 / a2 = weight_ratio x F(1 - a1) / F(1 - a2) by bisection, each share within 0..capacity_share. Source:
    paper's loop with F of Token Pools design. Raises ValueError for a ratio of 0 or less.
    """
    if weight_ratio <= 0 or capacity_share <= 0:
        raise ValueError(f"ratio and capacity share must be above 0: {weight_ratio}, {capacity_share}")
    low, high = 0.0, capacity_share
    for _ in range(200):
        first = (low + high) / 2.0
        second = capacity_share - first
        pull = weight_ratio * debt_factor(1.0 - first, strength) * second
        if pull > first * debt_factor(1.0 - second, strength):
            low = first
        else:
            high = first
    return ((low + high) / 2.0, capacity_share - (low + high) / 2.0)


def convergence(kept: float, loop_gain: float) -> float:
    """mu = kept - (1 - kept) x gain: the factor by which two equal tenants' difference shrinks per step (|mu| < 1:
    stable)."""
    return kept - (1.0 - kept) * loop_gain


def loop_gain(strength: float, debt: float, share: float) -> float:
    """K: how far the difference of two equal tenants' shares moves per unit of difference in debt.

    Equal tenants with shares a +- x and debts d -+ x get shares in proportion to F: K = a x F'(d) / F(d), with
    F' = strength for debt >= 0. No unit. Source: Token Pools design, linearised at the fixed point.
    """
    slope = strength if debt >= 0 else strength / (1.0 - strength * debt) ** 2
    return share * slope / debt_factor(debt, strength)
