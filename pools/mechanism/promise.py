"""How much a pool can still promise: the room of a class in each dimension, and how often a given promise fits.

The same inequalities as ``pools.mechanism.lease``, solved for what is left instead of asked for one lease.
Source: Token Pools design, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pools.mechanism.amounts import DIMENSIONS, Dimension, Rate
from pools.mechanism.lease import Promises, Triple
from pools.mechanism.ordering import RANK_OF_CLASS, ClassCode

HAIR = 1e-9
UNBOUNDED = 1_000_000_000


def room(service_class: ClassCode, promised: Promises, capacity: Rate, oversubscription: float = 1.0) -> Triple:
    """What may still be promised to a class, per dimension; negative where more is promised than there is.

    Rank 0: C - reserved - elastic / oversubscription. Elastic: oversubscription x (C - reserved) - elastic. Spot and
    preemptible promise nothing and have no bound: infinity. Raises ValueError for an oversubscription below 1.
    """
    if oversubscription < 1:
        raise ValueError(f"oversubscription must be 1 or more, got {oversubscription}")
    rank = RANK_OF_CLASS[service_class]
    if rank > 1:
        return (math.inf, math.inf, math.inf)
    left = []
    for kept, elastic, has in zip(
        promised.reserved.as_tuple(), promised.elastic.as_tuple(), capacity.as_tuple(), strict=True
    ):
        if rank == 0:
            left.append(has - kept - elastic / oversubscription)
        else:
            left.append(oversubscription * (has - kept) - elastic)
    return (left[0], left[1], left[2])


def single_most(service_class: ClassCode, promised: Promises, capacity: Rate, oversubscription: float) -> Triple:
    """The largest single promise per dimension: an elastic one never exceeds what the reserved classes leave."""
    left = room(service_class, promised, capacity, oversubscription)
    if RANK_OF_CLASS[service_class] != 1:
        return left
    beside = [has - kept for has, kept in zip(capacity.as_tuple(), promised.reserved.as_tuple(), strict=True)]
    return (min(left[0], beside[0]), min(left[1], beside[1]), min(left[2], beside[2]))


@dataclass(frozen=True, slots=True)
class Fits:
    """How often a promise fits, and the dimension that ends it (None: nothing does)."""

    count: int
    binds: Dimension | None


def times_that_fit(
    base: Rate, service_class: ClassCode, promised: Promises, capacity: Rate, oversubscription: float = 1.0
) -> Fits:
    """How many more promises of ``base`` a pool of ``capacity`` can carry beside what it has promised.

    min over dimensions of floor(room / base); 0 when already one of them is larger than the largest single promise.
    """
    left = room(service_class, promised, capacity, oversubscription)
    single = single_most(service_class, promised, capacity, oversubscription)
    counts = []
    for own, free, most in zip(base.as_tuple(), left, single, strict=True):
        if own == 0 or math.isinf(free):
            counts.append(UNBOUNDED)
        else:
            counts.append(0 if own > most + HAIR else max(0, math.floor(free / own + HAIR)))
    least = min(range(3), key=lambda d: counts[d])
    return Fits(counts[least], DIMENSIONS[least] if counts[least] < UNBOUNDED else None)


def binding_dimension(left: Triple, replica: Rate) -> Dimension | None:
    """The dimension with least room, measured in replicas so that the three can be compared; None without a measure."""
    shares = [
        free / each if each > 0 and not math.isinf(free) else math.inf
        for free, each in zip(left, replica.as_tuple(), strict=True)
    ]
    least = min(range(3), key=lambda d: shares[d])
    return None if math.isinf(shares[least]) else DIMENSIONS[least]
