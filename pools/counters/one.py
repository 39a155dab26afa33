"""What the store decides on for one entitlement, read as it is: for asking the reference and reserving nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis

from pools.counters import keys, records
from pools.counters.types import CounterUnavailable
from pools.mechanism.hot import EntitlementHot, PoolHot, Terms
from pools.mechanism.victims import Candidate


@dataclass(frozen=True, slots=True)
class OneState:
    """``entitlement`` None: never touched (its bucket is full). ``at_ms`` is the store's clock."""

    at_ms: int
    pool: PoolHot
    terms: Terms | None
    entitlement: EntitlementHot | None
    candidates: tuple[Candidate, ...]


def one_state(client: redis.Redis, pool_id: int, entitlement_id: int) -> OneState:
    """Read in one round trip; nothing is changed. Raises CounterUnavailable when it cannot be asked or knows no such
    pool."""
    tag = keys.pool_key(pool_id)
    pipe = client.pipeline(transaction=True)
    pipe.time()
    pipe.mget(
        [tag, keys.entitlement_key(pool_id, entitlement_id), keys.terms_key(pool_id, entitlement_id)],
    )
    pipe.hgetall(keys.preemptible_key(pool_id))
    try:
        replies: list[Any] = pipe.execute()
    except redis.RedisError as error:
        raise CounterUnavailable(f"the counter store could not be asked: {error}") from error
    (seconds, micros), (pool, entitlement, terms), preemptible = replies
    if pool is None:
        raise CounterUnavailable(f"pool {pool_id} is not configured in the counter store")
    return OneState(
        int(seconds) * 1000 + int(micros) // 1000,
        records.unpack_pool(pool),
        records.unpack_terms(terms) if terms is not None else None,
        records.unpack_entitlement(entitlement) if entitlement is not None else None,
        tuple(
            Candidate(name.decode().removeprefix(f"{tag}:r:"), *map(int, records.candidate_struct.unpack(raw)))
            for name, raw in preemptible.items()
        ),
    )
