"""Who gives way when a pool loses capacity: class by class, and promises last. (Single victims: ``victims``.)

Source: classes from the paper; the order of sacrifice is Token Pools design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pools.mechanism.amounts import Rate
from pools.mechanism.ordering import RANK_OF_CLASS, ClassCode


@dataclass(frozen=True, slots=True)
class Lease:
    """A bound entitlement as the loss of capacity sees it."""

    entitlement_id: int
    service_class: ClassCode
    base: Rate
    bound_at_ms: int


@dataclass(frozen=True, slots=True)
class LossPlan:
    """What a pool does when it holds more than it can carry, in order of harm.

    ``evict_*``: rank-3 work to end (already the real need, at most what rank 3 holds); ``stop_spot``: admit no rank 2
    until use fits; ``shrink_elastic_*``: how far elastic limits must come down by themselves, streams in flight are
    not cut; ``degraded``: entitlements whose promise cannot be kept, newest lease first, guaranteed before dedicated.
    """

    evict_kv_bytes: int
    evict_concurrency: int
    stop_spot: bool
    shrink_elastic_kv_bytes: int
    shrink_elastic_concurrency: int
    degraded: tuple[int, ...]
    sentence: str


def loss_plan(capacity: Rate, use_by_rank: Sequence[Rate], leases: Sequence[Lease]) -> LossPlan:
    """The order of sacrifice for a pool of ``capacity`` with ``use_by_rank`` [4] in flight and its bound ``leases``.

    Evict rank 3 → stop rank 2 → shrink elastic → degrade only while the rank-0 bases exceed capacity.
    Raises ValueError unless four ranks are given. Source: Token Pools design.
    """
    if len(use_by_rank) != 4:
        raise ValueError(f"use is needed for the 4 ranks, got {len(use_by_rank)}")
    over_bytes = max(0, sum(use.kv_bytes for use in use_by_rank) - capacity.kv_bytes)
    over_sequences = max(0, sum(use.concurrency for use in use_by_rank) - capacity.concurrency)
    spot, preemptible = use_by_rank[2], use_by_rank[3]
    evict = (min(over_bytes, preemptible.kv_bytes), min(over_sequences, preemptible.concurrency))
    left = (over_bytes - evict[0], over_sequences - evict[1])
    shrink = (max(0, left[0] - spot.kv_bytes), max(0, left[1] - spot.concurrency))
    degraded = degrade(capacity, leases)
    return LossPlan(
        evict_kv_bytes=evict[0],
        evict_concurrency=evict[1],
        stop_spot=any(left),
        shrink_elastic_kv_bytes=min(shrink[0], use_by_rank[1].kv_bytes),
        shrink_elastic_concurrency=min(shrink[1], use_by_rank[1].concurrency),
        degraded=degraded,
        sentence=_loss_words(evict, left, shrink, degraded),
    )


def degrade(capacity: Rate, leases: Sequence[Lease]) -> tuple[int, ...]:
    """Ids of the leases to mark degraded so that the remaining rank-0 bases fit; empty when they fit already.

    Newest first, all guaranteed before any dedicated; ties by the larger id. Source: Token Pools design.
    """
    reserved = [lease for lease in leases if RANK_OF_CLASS[lease.service_class] == 0]
    reserved.sort(
        key=lambda lease: (lease.service_class == ClassCode.DEDICATED, -lease.bound_at_ms, -lease.entitlement_id)
    )
    promised = [sum(lease.base.as_tuple()[d] for lease in reserved) for d in range(3)]
    marked: list[int] = []
    for lease in reserved:
        if all(total <= has for total, has in zip(promised, capacity.as_tuple(), strict=True)):
            break
        marked.append(lease.entitlement_id)
        promised = [total - own for total, own in zip(promised, lease.base.as_tuple(), strict=True)]
    return tuple(marked)


def _loss_words(
    evict: tuple[int, int], left: tuple[int, int], shrink: tuple[int, int], degraded: tuple[int, ...]
) -> str:
    parts = []
    if any(evict):
        parts.append(f"evict preemptible work holding {evict[1]} sequences and {evict[0]:,} bytes")
    if any(left):
        parts.append("admit no spot work")
    if any(shrink):
        parts.append(f"let elastic work run down by {shrink[1]} sequences and {shrink[0]:,} bytes")
    if degraded:
        parts.append(f"mark {len(degraded)} reserved entitlements degraded")
    return (", ".join(parts) or "everything in flight and promised still fits") + "."
