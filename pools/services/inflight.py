"""Requests that run now: found by their entitlement, and ended at the gateways by the channel that evictions use."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from pools.counters.keys import eviction_channel, pool_key
from pools.counters.types import LiveReservation
from pools.services.store import counters, hot


def inflight_of(entitlements: Mapping[int, Collection[int]]) -> list[tuple[int, LiveReservation]]:
    """(pool id, reservation) of every request that runs under the given entitlements (pool id → entitlement ids)."""
    return [
        (pool_id, request)
        for pool_id, wanted in _busy(entitlements).items()
        for request in counters().live_reservations(pool_id)
        if request.entitlement_id in wanted
    ]


def inflight_end(entitlements: Mapping[int, Collection[int]]) -> int:
    """Tells the gateways to end those requests; returns how many. Each is settled with what it streamed until then.

    A gateway that misses the message lets its request run to its end. Errors of the store pass through.
    """
    told = inflight_of(entitlements)
    for pool_id in {pool_id for pool_id, _ in told}:
        lines = [f"{one.entitlement_id}:{one.request_id}" for pool, one in told if pool == pool_id]
        counters().publish(eviction_channel(pool_id), "\n".join(lines))
    return len(told)


def _busy(entitlements: Mapping[int, Collection[int]]) -> dict[int, Collection[int]]:
    """Those pools where one of them has a sequence in flight: listing a pool's requests costs as many as it has."""
    pool_ids = sorted(entitlements)
    known = [pool_id for pool_id in pool_ids if hot().exists(pool_key(pool_id))]
    wanted = [np.array(sorted(entitlements[pool_id]), dtype=np.int64) for pool_id in known]
    seen = counters().snapshots(known, wanted) if known else []
    return {one.pool_id: entitlements[one.pool_id] for one in seen if one.column("use_seats").any()}
