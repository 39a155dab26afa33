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

from pools.choices import Refusal
from pools.mechanism.ordering import ClassCode, Floats, StateCode
from pools.mechanism.tick_types import TickState
from pools.services.books import books_away, books_failed
from portal.lib.hot import hot

if TYPE_CHECKING:
    from pools.services.tick_decide import PoolResult
    from pools.services.tick_memory import Seen, Sums
    from pools.services.tick_show import Board

log = logging.getLogger(__name__)
BACKLOG = "tp:samples:backlog"
LONGEST_BACKLOG = 2000
REMEMBERED = timedelta(hours=1)
"""An older debt has faded by far more than it could matter."""
ENTITLEMENT_COPY = """COPY pools_entitlementsample
    (at, entitlement_id, pool_id, tenant_id, elapsed_s, use_tokens_per_second, use_kv_bytes, use_concurrency,
     limit_tokens_per_second, limit_kv_bytes, limit_concurrency, demand_tokens_per_second,
     weight, debt, burst, gap_tokens, admitted, refused) FROM STDIN"""
POOL_COPY = """COPY pools_poolsample
    (at, pool_id, capacity, promised, use, hold, ready, pending, wanted, contended, lag_ms, refused) FROM STDIN"""
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
    entitlements: Rows = []
    pools: Rows = []
    for index, (one, board) in enumerate(zip(results, boards, strict=True)):
        mine = refused[one.rows]
        entitlements += _entitlement_rows(one, float(windows_s[index]), mine, admitted[one.rows], at)
        pools.append(_pool_row(one, board, lag_ms, bool(seen.contended[index]), mine, at))
    batch = orjson.dumps([entitlements, pools])
    if books_away():
        _wait(batch)
        return
    try:
        backlog_store()
        _copy(entitlements, pools)
    except IntegrityError:
        log.info("samples of %s are stored already", at)
    except DatabaseError as error:
        log.warning("samples wait in the hot store: the books cannot be written (%s)", type(error).__name__)
        books_failed()
        _wait(batch)


def _wait(batch: bytes) -> None:
    pipe = hot().pipeline(transaction=False)
    pipe.rpush(BACKLOG, batch)
    pipe.ltrim(BACKLOG, -LONGEST_BACKLOG, -1)
    pipe.execute()


def backlog_store() -> int:
    """Writes batches that waited for the books; returns how many. Errors of the books pass through."""
    done = 0
    while (batch := cast(bytes | None, hot().lindex(BACKLOG, 0))) is not None:
        entitlements, pools = orjson.loads(batch)
        try:
            _copy(entitlements, pools)
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


def _copy(entitlements: Rows, pools: Rows) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for statement, rows in ((ENTITLEMENT_COPY, entitlements), (POOL_COPY, pools)):
            with cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)


def _entitlement_rows(one: PoolResult, window_s: float, refused: Any, admitted: Any, at: datetime) -> Rows:
    terms, result, rows = one.terms, one.result, one.group_rows
    average, limit = result.explain.average[rows], result.limit[rows]
    gap = result.explain.gap[rows] * terms.base[:, 0] * window_s
    count = terms.ids.size
    columns = (
        [at.isoformat()] * count,
        terms.ids.tolist(),
        [terms.pool_id] * count,
        terms.tenant_ids.tolist(),
        [round(window_s, 3)] * count,
        np.round(average[:, 0], 3).tolist(),
        average[:, 1].astype(np.int64).tolist(),
        np.round(average[:, 2], 3).tolist(),
        np.round(result.refill[rows], 3).tolist(),
        limit[:, 1].astype(np.int64).tolist(),
        limit[:, 2].astype(np.int64).tolist(),
        np.round(result.demand[rows][:, 0], 3).tolist(),
        result.weight[rows].tolist(),
        result.debt[rows].tolist(),
        result.burst[rows].tolist(),
        gap.tolist(),
        admitted.tolist(),
        [_counts(row) if any_refused else "{}" for row, any_refused in zip(refused, refused.any(axis=1), strict=True)],
    )
    return [list(row) for row in zip(*columns, strict=True)]


def _pool_row(one: PoolResult, board: Board, lag_ms: int, contended: bool, refused: Any, at: datetime) -> list[Any]:
    result, place = one.result, one.pool_index
    return [
        at.isoformat(),
        one.terms.pool_id,
        one.terms.capacity.tolist(),
        promised_of(one),
        result.use[place].tolist(),
        result.hold[place].tolist(),
        *(board.ready, board.pending, board.wanted, contended, lag_ms),
        _counts(refused.sum(axis=0)),
    ]


def promised_of(one: PoolResult) -> list[float]:
    """Sum of the bases of the bound entitlements, per dimension."""
    terms = one.terms
    bound = (terms.state == StateCode.BOUND) & (terms.service_class <= ClassCode.ELASTIC)
    return [float(total) for total in terms.base[bound].sum(axis=0)]


def _counts(refused: Any) -> str:
    return orjson.dumps({code.code: int(refused[code]) for code in Refusal if refused[code]}).decode()
