"""Bring a pool's counters back from the books: after the store lost its memory, or when drift was found.

Terms and capacity come from the control plane's records; what is in flight comes from the reservations still in the
store, so nothing live is forgotten and nothing finished keeps its place. Safe at any time, any number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pools.counters.store import CounterStore
from pools.counters.types import EntitlementCounterConfig, PoolCounterConfig


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did: reservations kept, entitlements written and removed, and how far pool use had drifted."""

    live: int
    configured: int
    removed: int
    drift_concurrency: int
    drift_kv_bytes: int


def rebuild(store: CounterStore, pool: PoolCounterConfig, entitlements: Sequence[EntitlementCounterConfig]) -> Rebuilt:
    """Write the capacity record and all terms, drop entitlements that are not listed, count use anew from live
    reservations. Raises CounterUnavailable when the store cannot be asked; repeat it then.
    """
    store.configure_pool(pool)
    wanted = {config.entitlement_id for config in entitlements}
    stale = [int(key) for key in store.entitlement_ids(pool.pool_id) if int(key) not in wanted]
    for entitlement_id in stale:
        store.remove_entitlement(pool.pool_id, entitlement_id)
    store.configure_entitlements(pool.pool_id, entitlements)
    before = store.snapshot(pool.pool_id, []).pool
    live = store.recount(pool.pool_id)
    after = store.snapshot(pool.pool_id, []).pool
    return Rebuilt(
        live=live,
        configured=len(wanted),
        removed=len(stale),
        drift_concurrency=after.use_seats - before.use_seats,
        drift_kv_bytes=after.use_kv - before.use_kv,
    )
