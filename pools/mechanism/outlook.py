"""Where a change of terms leads: small measures of two tick results beside each other. Pure.

Source: Token Pools design; the debt's direction follows from the paper's debt recursion.
"""

from __future__ import annotations

import numpy as np

from pools.mechanism.ordering import ClassCode, Floats, Whole
from pools.mechanism.scaling import ScalingSettings, Triple

HAIR = 1e-6


def debt_heading(base: Floats, demand: Floats, limit: Floats, service_class: Whole) -> Floats:
    """The debt [E] an entitlement drifts to while demand and limit stay as they are: the standing service gap
    clip((min(base, demand) - min(demand, limit)) / base, -1, 1), elastic only, 0 for everybody else.

    All three are tokens per second [E]. d <- g d + (1 - g) gap moves towards a standing gap, so the sign of
    (heading - debt) is the direction the debt takes.
    """
    gap = np.minimum(base, demand) - np.minimum(demand, limit)
    owing = (service_class == ClassCode.ELASTIC) & (base > 0)
    heading: Floats = np.clip(np.divide(gap, base, out=np.zeros_like(gap), where=owing), -1.0, 1.0)
    return heading


def falls_below(before: Floats, after: Floats, use: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Where a limit [E,3] that covers the present use would no longer cover it."""
    return np.asarray((after < use - HAIR) & (before >= use - HAIR))


def shares(limit: Floats, capacity: Floats) -> Floats:
    """Dominant share [E] of a pool's capacity [3] that limits [E,3] give; a dimension the pool lacks counts nothing."""
    parts = np.divide(limit, capacity, out=np.zeros_like(limit), where=capacity > 0)
    return np.asarray(parts.max(axis=1, initial=0.0))


def ceilings(cap: Floats, capacity: Floats) -> tuple[float, float, float]:
    """Sum of all caps [E,3] over capacity [3], per dimension: 1.8 is a pool whose ceilings add up to 180 %."""
    total = cap.sum(axis=0)
    found = [float(each / has) if has > 0 else 0.0 for each, has in zip(total, capacity, strict=True)]
    return (found[0], found[1], found[2])


def scaling_levels(
    service_class: Whole, base: Floats, cap: Floats, demand: Floats, debt: Floats, settings: ScalingSettings
) -> tuple[Triple, Triple]:
    """``scaling.commit_level`` and ``scaling.need_level`` of E entitlements as columns [E], [E,3]."""
    wants = np.minimum(demand, cap)
    owed = settings.debt_share * np.maximum(0.0, debt)[:, None] * base
    share = np.zeros(5)
    share[[ClassCode.DEDICATED, ClassCode.GUARANTEED, ClassCode.ELASTIC]] = 1.0, 1.0, settings.elastic_share
    commit = (share[service_class][:, None] * base).sum(axis=0)
    kind = service_class[:, None]
    each = np.select(
        [kind == ClassCode.DEDICATED, kind == ClassCode.GUARANTEED, kind == ClassCode.ELASTIC, kind == ClassCode.SPOT],
        [
            np.maximum(base, wants),
            base,
            np.maximum(settings.elastic_share * base, wants) + owed,
            settings.spot_share * wants,
        ],
        0.0,
    )
    need = each.sum(axis=0)
    return (
        (float(commit[0]), float(commit[1]), float(commit[2])),
        (float(need[0]), float(need[1]), float(need[2])),
    )
