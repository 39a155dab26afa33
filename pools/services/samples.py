"""History of the tick: one row per entitlement and pool every few seconds, by COPY. Append-only, partitioned by day.

When the books cannot be written the rows wait in the hot store, so that a debt is posted even after an outage.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson
from django.db import Error as DatabaseError
from django.db import IntegrityError, connection, transaction

from pools.mechanism.ordering import ClassCode, Floats, StateCode
from pools.mechanism.tick_types import TickState
from pools.services.books import books_away, books_failed
from pools.services.rollups import rollups_reopen
from pools.services.sample_rows import ENTITLEMENT_COPY, counts_json, entitlement_rows
from portal.lib.copying import copying
from portal.lib.hot import hot

if TYPE_CHECKING:
    from pools.services.tick_decide import PoolResult
    from pools.services.tick_memory import Seen, Sums
    from pools.services.tick_show import Board

log = logging.getLogger(__name__)
BACKLOG = "tp:samples:waiting"
LONGEST_BACKLOG = 2000
REMEMBERED = timedelta(hours=1)
"""An older debt has faded by far more than it could matter."""
POOL_COPY = """COPY pools_poolsample (at, pool_id, capacity, promised, use, hold,
    ready, pending, wanted, needed, contended, lag_ms, refused) FROM STDIN"""
Rows = list[list[Any]]


def samples_store(
    results: Sequence[PoolResult],
    seen: Seen,
    before: Sums,
    boards: Sequence[Board],
    lag_ms: int,
    at: datetime,
    windows_s: Floats,
) -> None:
    """Writes one row per entitlement and pool of a debt step; when the books refuse, keeps them for the next time."""
    refused = np.maximum(0.0, seen.refused - before.sampled_refused).astype(np.int64)
    admitted = np.maximum(0.0, seen.admitted - before.sampled_admitted).astype(np.int64)
    entitlements = entitlement_rows(results, refused, admitted, windows_s, at)
    pools = [
        _pool_row(one, board, lag_ms, bool(seen.contended[index]), refused[one.rows], at)
        for index, (one, board) in enumerate(zip(results, boards, strict=True))
    ]
    if books_away():
        _wait(_batch(entitlements, pools))
        return
    try:
        backlog_store()
        _copy(entitlements, pools)
    except IntegrityError:
        log.info("samples of %s are stored already", at)
    except DatabaseError as error:
        log.warning("samples wait in the hot store: the books cannot be written (%s)", type(error).__name__)
        books_failed()
        _wait(_batch(entitlements, pools))


def _wait(batch: bytes) -> None:
    pipe = hot().pipeline(transaction=False)
    pipe.rpush(BACKLOG, batch)
    pipe.ltrim(BACKLOG, -LONGEST_BACKLOG, -1)
    pipe.execute()


def backlog_store() -> int:
    """Writes batches that waited for the books; returns how many. Errors of the books pass through."""
    done = 0
    while (batch := cast(bytes | None, hot().lindex(BACKLOG, 0))) is not None:
        entitlements, pools = _unbatch(batch)
        try:
            with transaction.atomic():
                _copy(entitlements, pools)
                if pools:
                    rollups_reopen(datetime.fromisoformat(pools[0][0]))
        except IntegrityError:
            log.info("a batch of samples is stored already")
        hot().lrem(BACKLOG, 1, cast(str, batch))
        done += 1
    return done


def debts_recall(state: TickState, ids: Sequence[int], new: Sequence[int], now: datetime) -> None:
    """Gives rows the tick does not remember the debt and burst of their latest sample (in place); fresh ones keep 0."""
    place = {identity: index for index, identity in enumerate(ids)}
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT ON (entitlement_id) entitlement_id, debt, burst FROM pools_entitlementsample"
                " WHERE entitlement_id = ANY(%s) AND at > %s ORDER BY entitlement_id, at DESC",
                [list(new), now - REMEMBERED],
            )
            for identity, debt, burst in cursor.fetchall():
                state.debt[place[identity]] = debt
                state.burst[place[identity]] = burst
    except DatabaseError:
        log.warning("debts of %d entitlements could not be read back; they start at 0", len(new))


def _batch(entitlements: bytes, pools: Rows) -> bytes:
    head = orjson.dumps(pools)
    return len(head).to_bytes(4, "big") + head + entitlements


def _unbatch(batch: bytes) -> tuple[bytes, Rows]:
    end = 4 + int.from_bytes(batch[:4], "big")
    return batch[end:], orjson.loads(batch[4:end])


def _copy(entitlements: bytes, pools: Rows) -> None:
    with transaction.atomic():
        with copying(ENTITLEMENT_COPY) as copy:
            copy.write(entitlements)
        with copying(POOL_COPY) as copy:
            for row in pools:
                copy.write_row(row)


def _pool_row(one: PoolResult, board: Board, lag_ms: int, contended: bool, refused: Any, at: datetime) -> list[Any]:
    result, place = one.result, one.pool_index
    return [
        at.isoformat(),
        one.terms.pool_id,
        one.terms.capacity.tolist(),
        promised_of(one),
        result.use[place].tolist(),
        result.hold[place].tolist(),
        *(board.ready, board.pending, board.wanted, board.needed, contended, lag_ms),
        counts_json(refused.sum(axis=0)).decode(),
    ]


def promised_of(one: PoolResult) -> list[float]:
    """Sum of the bases of the bound entitlements, per dimension."""
    terms = one.terms
    bound = (terms.state == StateCode.BOUND) & (terms.service_class <= ClassCode.ELASTIC)
    return [float(total) for total in terms.base[bound].sum(axis=0)]
