"""What the tick keeps so that its answers can be explained: its own input, a pool at a time, in the hot store."""

from __future__ import annotations

from collections.abc import Sequence

from pools.mechanism.tick_record import pack
from pools.selectors.explain import ASKED_KEY, KEPT_S, asked_pools, record_key
from pools.services.tick_decide import PoolResult
from portal.lib.hot import hot

ASKED_FOR_MS = 60_000


def records_store(results: Sequence[PoolResult], at_ms: float, *, debt_step: bool) -> None:
    """Keeps the inputs of every pool on a debt step, else only of those that are asked for. One round trip or two."""
    wanted = None if debt_step else asked_pools(at_ms)
    if wanted is not None and not wanted:
        return
    pipe = hot().pipeline(transaction=False)
    for one in results:
        if wanted is None or one.terms.pool_id in wanted:
            packed = pack(one.given, one.pool_index, one.group_rows, one.terms.ids, one.terms.pool_id, int(at_ms))
            pipe.set(record_key(one.terms.pool_id, debt_step=debt_step), packed, ex=KEPT_S)
    pipe.execute()


def explain_ask(pool_id: int, now_ms: int) -> None:
    """For the next minute every tick of the pool is kept."""
    pipe = hot().pipeline(transaction=False)
    pipe.zadd(ASKED_KEY, {str(pool_id): now_ms + ASKED_FOR_MS})
    pipe.zremrangebyscore(ASKED_KEY, "-inf", now_ms - ASKED_FOR_MS)
    pipe.execute()
