"""The tick of a shard of pools: 1 read the counters; 2 decide (``pools.mechanism.tick``); 3 write limits back;
4 remember; 5 every few seconds store samples; 6 show, every few seconds how fair it was, too; 7 keep what explains it;
8 with the samples, store how fair it was. Steps 1 to 4, 6 and 7 need the hot store only."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import zip_longest
from typing import cast

import numpy as np
from django.db import Error as DatabaseError

from pools.counters.snapshot import PoolCounters
from pools.counters.types import TickWrite
from pools.mechanism.ordering import Floats
from pools.mechanism.tick_types import TickState
from pools.services.books import books_away, books_failed
from pools.services.configuring import terms_key
from pools.services.documents import documents_refresh
from pools.services.fairness import FairMeasure, fairness_measures, fairness_store
from pools.services.live import live_send
from pools.services.samples import samples_store
from pools.services.store import counters
from pools.services.tick_decide import INTERVAL_MS, PoolResult, freeze, limits_decide, memory_keys, memory_recall
from pools.services.tick_explain import records_store
from pools.services.tick_memory import Change, Memory, Seen, Sums
from pools.services.tick_show import Board, boards, live_of
from pools.services.tick_terms import TickTerms, terms_cached, terms_for
from portal.lib.hot import hot

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShardTick:
    """What a tick did: pools and entitlements, whether debts moved, milliseconds it ran late, and the results."""

    pools: int
    entitlements: int
    debt_step: bool
    lag_ms: int
    results: tuple[PoolResult, ...]


@dataclass(frozen=True, slots=True)
class _Shard:
    """Pools in tick order with everything read about them."""

    terms: list[TickTerms]
    snapshots: list[PoolCounters]
    boards: list[Board]


def shard_tick(shard: int, pool_ids: Sequence[int], now: datetime) -> ShardTick:
    """One tick for a shard. Errors of the hot store pass through; the books' only delay samples."""
    read = _read(pool_ids, now)
    if read is None:
        return ShardTick(0, 0, False, 0, ())
    frozen = freeze(read.terms, read.snapshots, memory_recall(shard), now)
    before, moved, at_ms = frozen.before, frozen.moved, frozen.at_ms
    results, state = limits_decide(frozen)
    next_ms = int(at_ms) + INTERVAL_MS
    limits = [_limits_of(one) for one in results]
    counters().write_ticks(_moved(results, limits, before, next_ms))
    _written.update({one.terms.pool_id: one.terms.revision for one in results})
    lag_ms = max(0, round(float((frozen.seen.at_ms - before.at_ms).max()) - INTERVAL_MS))
    _remember(shard, Memory(state, _sums_after(before, frozen.seen, moved, limits, frozen.debt_step)))
    if frozen.debt_step:
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        samples_store(results, frozen.seen, before, read.boards, lag_ms, at, _windows(frozen.kept, moved))
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    measures: list[FairMeasure] = list(fairness_measures(results, moment)) if frozen.debt_step else []
    live_send(
        [
            live_of(one, frozen.seen, moved, board, lag_ms, fair)
            for one, board, fair in zip_longest(results, read.boards, measures)
        ]
    )
    records_store(results, at_ms, debt_step=frozen.debt_step)
    if frozen.debt_step:
        fairness_store(measures, moment)
    return ShardTick(len(results), int(frozen.seen.ids.size), frozen.debt_step, lag_ms, tuple(results))


def _read(pool_ids: Sequence[int], now: datetime) -> _Shard | None:
    revisions = cast(list[bytes | None], hot().mget([terms_key(pool_id) for pool_id in pool_ids])) if pool_ids else []
    if any(revision is None for revision in revisions):
        _rebuild(now)
        revisions = cast(list[bytes | None], hot().mget([terms_key(pool_id) for pool_id in pool_ids]))
    terms: list[TickTerms] = []
    for pool_id, revision in zip(pool_ids, revisions, strict=True):
        mine = _terms(pool_id, revision or b"", now)
        if mine is not None:
            terms.append(mine)
    if not terms:
        return None
    ids = [one.pool_id for one in terms]
    return _Shard(terms, counters().snapshots(ids, terms=False), boards(ids))


def _terms(pool_id: int, revision: bytes, now: datetime) -> TickTerms | None:
    if books_away() and (known := terms_cached(pool_id)) is not None:
        return known
    try:
        return terms_for(pool_id, revision, now)
    except DatabaseError:
        books_failed()
        log.warning("pool %s: the books cannot be read, the tick goes on with what it knows", pool_id, exc_info=False)
        return terms_cached(pool_id)


def _rebuild(now: datetime) -> None:
    try:
        if documents_refresh(now):
            log.warning("the hot store had lost its documents; they were rebuilt from the books")
    except DatabaseError:
        log.warning("the hot store lost its documents and the books cannot be read; trying again")


def _limits_of(one: PoolResult) -> Floats:
    """[E,5] what the counters shall hold: tokens/s, bucket, KV bytes, sequences, weight."""
    result, rows = one.result, one.group_rows
    return np.column_stack(
        [result.refill[rows], np.ceil(result.bucket_size[rows]), result.limit[rows, 1:], result.weight[rows]]
    )


_written: dict[int, bytes] = {}
"""Pool → the revision of its terms under which this process wrote all of its limits."""


REFRESHED_IN = 5
"""Ticks until a limit that never moves is written again all the same."""


def _moved(
    results: Sequence[PoolResult], limits: Sequence[Floats], before: Sums, next_ms: int
) -> list[tuple[int, TickWrite]]:
    """What has to be written: limits that are not what was written last; a fifth of the others, in turn, so that a
    store that lost some heals within seconds; all once after a pool's terms were published, for that may set limits."""
    turn = next_ms // INTERVAL_MS % REFRESHED_IN
    found = []
    for one, mine in zip(results, limits, strict=True):
        pool_id, ids = one.terms.pool_id, one.terms.ids
        if _written.get(pool_id) == one.terms.revision:
            due = (mine != before.written[one.rows]).any(axis=1) | (ids % REFRESHED_IN == turn)
            mine, ids = mine[due], ids[due]
        refill, bucket, kv_bytes, concurrency, weight = mine.T
        found.append((pool_id, TickWrite(ids, refill, bucket, kv_bytes, concurrency, weight, next_ms)))
    return found


def _sums_after(before: Sums, seen: Seen, moved: Change, limits: list[Floats], debt_step: bool) -> Sums:
    sampled = (
        {"sampled_ms": seen.at_ms, "sampled_refused": seen.refused, "sampled_admitted": seen.admitted}
        if debt_step
        else {}
    )
    return replace(
        before,
        ids=seen.ids,
        pool_ids=seen.pool_ids,
        at_ms=seen.at_ms,
        sums=moved.sums,
        refused=seen.refused,
        admitted=seen.admitted,
        means=moved.means,
        written=np.concatenate(limits),
        **sampled,
    )


def _windows(before: TickState, moved: Change) -> Floats:
    """Seconds of the debt window that ended with this tick, per pool."""
    return np.asarray(before.window_s + moved.elapsed_s, dtype=float)


def _remember(shard: int, memory: Memory) -> None:
    hot().mset(dict(zip(memory_keys(shard), memory.packed(), strict=True)))
