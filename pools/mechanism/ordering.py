"""Who comes first: rank before anything else, weight only within a rank.

Codes are small whole numbers so that whole shards of entitlements fit in numpy arrays and packed store states.

Source: classes and the weight's terms are the paper's; rank-first ordering and the bounded debt factor are Token Pools
design (the literal weight lets an indebted elastic tenant overtake a guaranteed one, and can fall to zero or below).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


class ClassCode(IntEnum):
    """Service classes as numbers, in the order of ``pools.choices.ServiceClass``."""

    DEDICATED = 0
    GUARANTEED = 1
    ELASTIC = 2
    SPOT = 3
    PREEMPTIBLE = 4


class StateCode(IntEnum):
    """Entitlement states as numbers, in the order of ``pools.choices.EntitlementState``."""

    PENDING = 0
    DRAINING = 1
    BOUND = 2
    DEGRADED = 3
    SUSPENDED = 4
    EXPIRED = 5


RANK_OF_CLASS: tuple[int, ...] = (0, 0, 1, 2, 3)
SLO_RATIO_LIMIT = 10.0


@dataclass(frozen=True, slots=True)
class WeightFactors:
    """How strongly SLO target, burst and debt move a weight: (2, 1, 4) in the paper. All 0 or more."""

    slo: float = 2.0
    burst: float = 1.0
    debt: float = 4.0

    def __post_init__(self) -> None:
        if min(self.slo, self.burst, self.debt) < 0:
            raise ValueError(f"weight factors must be 0 or more, got {self}")


def debt_factor(debt: float, strength: float = 4.0) -> float:
    """F(d): 1 + strength x debt when owed (debt >= 0), 1 / (1 + strength x |debt|) when ahead; always above 0.

    Raises nothing. Source: Token Pools design (the paper's 1 + 4 x debt reaches 0 at debt = -0.25).
    """
    return 1.0 + strength * debt if debt >= 0 else 1.0 / (1.0 + strength * -debt)


def debt_factors(debt: Floats, strength: Floats | float = 4.0) -> Floats:
    """:func:`debt_factor` for an array of debts, any shape."""
    size = 1.0 + strength * np.abs(debt)
    return np.where(debt >= 0, size, 1.0 / size)


def weight(
    class_weight: float, slo_ratio: float, burst: float, debt: float, factors: WeightFactors | None = None
) -> float:
    """w = class_weight / (1 + a_slo x min(slo_ratio, 10)) / (1 + a_burst x burst) x F(debt), no unit, always above 0.

    ``slo_ratio`` is the entitlement's SLO target over the pool's mean target. A tighter target and a higher debt raise
    the weight; a standing burst lowers it. Raises ValueError for a class weight of 0 or less, or a negative ratio or
    burst. Source: paper, with F and the ratio's limit from Token Pools design.
    """
    if class_weight <= 0 or slo_ratio < 0 or burst < 0:
        raise ValueError(
            f"class weight must be above 0, ratio and burst 0 or more: {class_weight}, {slo_ratio}, {burst}"
        )
    by = factors or WeightFactors()
    calm = (1.0 + by.slo * min(slo_ratio, SLO_RATIO_LIMIT)) * (1.0 + by.burst * burst)
    return class_weight / calm * debt_factor(debt, by.debt)


def weights(class_weight: Floats, slo_ratio: Floats, burst: Floats, debt: Floats, factors: WeightFactors) -> Floats:
    """:func:`weight` for arrays of one shape, unchecked: the tick validates its input once."""
    calm = (1.0 + factors.slo * np.minimum(slo_ratio, SLO_RATIO_LIMIT)) * (1.0 + factors.burst * burst)
    return class_weight / calm * debt_factors(debt, factors.debt)


def precedence(rank: int, weight: float) -> tuple[int, float]:
    """Sort key, smallest first: a lower rank always wins, a larger weight wins within the rank."""
    return (rank, -weight)


def outranks(asker_rank: int, asker_weight: float, other_rank: int, other_weight: float) -> bool:
    """True when the asker comes strictly before the other."""
    return precedence(asker_rank, asker_weight) < precedence(other_rank, other_weight)
