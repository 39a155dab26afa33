"""The tick of a shard of pools: 1 read the counters; 2 decide (``pools.mechanism.tick``); 3 write limits back;
4 remember; 5 every few seconds store samples; 6 show. Steps 1 to 4 and 6 need the hot store only."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, cast

import numpy as np
from django.conf import settings
from django.db import Error as DatabaseError

from pools.counters.snapshot import PoolCounters
from pools.counters.types import TickWrite
from pools.mechanism.ordering import Floats, Whole
from pools.mechanism.tick import tick
from pools.mechanism.tick_state import KeptState, align
from pools.mechanism.tick_types import EntitlementColumns, PoolColumns, TickInput, TickResult, TickSettings, TickState
from pools.services.configuring import terms_key
from pools.services.documents import documents_refresh
from pools.services.live import live_send
from pools.services.samples import debts_recall, samples_store
from pools.services.store import counters
from pools.services.tick_memory import TRANSIENT, Change, Memory, Seen, Sums, aligned, change, joined, see
from pools.services.tick_show import Board, boards, message_of
from pools.services.tick_terms import TickTerms, terms_cached, terms_for
from portal.lib.hot import hot

log = logging.getLogger(__name__)
INTERVAL_MS = 1000
DEBT_INTERVAL_MS = 5000


@dataclass(frozen=True, slots=True)
class ShardTick:
    """What a tick did: pools and entitlements, whether debts moved, milliseconds it ran late, and the results."""

    pools: int
    entitlements: int
    debt_step: bool
    lag_ms: int
    results: tuple[PoolResult, ...]


@dataclass(frozen=True, slots=True)
class PoolResult:
    """One pool's slice: its terms, rows of the shard's arrays, and the tick's answer for the group it belongs to."""

    terms: TickTerms
    rows: slice
    group_rows: slice
    group_index: int
    result: TickResult
    pool_index: int


@dataclass(frozen=True, slots=True)
class _Shard:
    """Pools in tick order with everything read about them."""

    terms: list[TickTerms]
    seen: Seen
    boards: list[Board]


def shard_tick(shard: int, pool_ids: Sequence[int], now: datetime) -> ShardTick:
    """One tick for a shard. Errors of the hot store pass through; the books' only delay samples."""
    read = _read(pool_ids, now)
    if read is None:
        return ShardTick(0, 0, False, 0, ())
    memory = _recall(shard)
    before = aligned(memory.sums if memory else None, read.seen, INTERVAL_MS)
    moved = change(before, read.seen)
    at_ms = float(read.seen.at_ms.max())
    debt_step = at_ms - float(before.sampled_ms.min()) >= DEBT_INTERVAL_MS - INTERVAL_MS / 2
    kept = _kept(memory, read.seen, now)
    results, state = _decide(read, moved, kept, debt_step)
    next_ms = int(at_ms) + INTERVAL_MS
    for one in results:
        counters().write_tick(one.terms.pool_id, _write_of(one, next_ms))
    lag_ms = max(0, round(float((read.seen.at_ms - before.at_ms).max()) - INTERVAL_MS))
    _remember(shard, Memory(state, _sums_after(before, read.seen, moved, debt_step)))
    if debt_step:
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        samples_store(results, read.seen, before, read.boards, lag_ms, at, _windows(kept, moved))
    live_send(
        [
            (one.terms.pool_id, message_of(one, read.seen, moved, board, lag_ms))
            for one, board in zip(results, read.boards, strict=True)
        ]
    )
    return ShardTick(len(results), int(read.seen.ids.size), debt_step, lag_ms, tuple(results))


def _read(pool_ids: Sequence[int], now: datetime) -> _Shard | None:
    revisions = cast(list[bytes | None], hot().mget([terms_key(pool_id) for pool_id in pool_ids])) if pool_ids else []
    if any(revision is None for revision in revisions):
        _rebuild(now)
        revisions = cast(list[bytes | None], hot().mget([terms_key(pool_id) for pool_id in pool_ids]))
    terms: list[TickTerms] = []
    snapshots: list[PoolCounters] = []
    for pool_id, revision in zip(pool_ids, revisions, strict=True):
        mine = _terms(pool_id, revision or b"", now)
        if mine is None:
            continue
        snapshot = counters().snapshot(pool_id)
        present = np.isin(mine.ids, snapshot.entitlement_ids)
        terms.append(mine if present.all() else _only(mine, present))
        snapshots.append(snapshot)
    if not terms:
        return None
    return _Shard(terms, see(snapshots, [one.ids for one in terms]), boards([one.pool_id for one in terms]))


def _terms(pool_id: int, revision: bytes, now: datetime) -> TickTerms | None:
    try:
        return terms_for(pool_id, revision, now)
    except DatabaseError:
        log.warning("pool %s: the books cannot be read, the tick goes on with what it knows", pool_id, exc_info=False)
        return terms_cached(pool_id)


def _rebuild(now: datetime) -> None:
    try:
        if documents_refresh(now):
            log.warning("the hot store had lost its documents; they were rebuilt from the books")
    except DatabaseError:
        log.warning("the hot store lost its documents and the books cannot be read; trying again")


def _only(terms: TickTerms, present: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> TickTerms:
    names = ("ids", "tenant_ids", "service_class", "state", "class_weight", "base", "cap", "lendable", "slo_ms")
    kept: dict[str, Any] = {name: getattr(terms, name)[present] for name in (*names, "largest_cost_tokens")}
    return replace(terms, **kept)


def _kept(memory: Memory | None, seen: Seen, now: datetime) -> TickState:
    ids, pool_ids = tuple(seen.ids.tolist()), tuple(seen.pool_ids.tolist())
    kept = memory.kept if memory else KeptState((), (), TickState.fresh(0, 0))
    state = align(kept, ids, pool_ids)
    known = set(kept.entitlement_ids)
    new = [identity for identity in ids if identity not in known]
    if new:
        debts_recall(state, ids, new, now)
    return state


def _decide(read: _Shard, moved: Change, state: TickState, debt_step: bool) -> tuple[list[PoolResult], KeptState]:
    """One call of the mechanism for each group of pools with the same settings: mostly one for the whole shard."""
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, terms in enumerate(read.terms):
        groups[(terms.factors, terms.fill)].append(index)
    ends = np.cumsum([terms.ids.size for terms in read.terms])
    spans = [slice(int(end) - terms.ids.size, int(end)) for end, terms in zip(ends, read.terms, strict=True)]
    found: dict[int, PoolResult] = {}
    parts: list[KeptState] = []
    whole = KeptState(tuple(read.seen.ids.tolist()), tuple(read.seen.pool_ids.tolist()), state)
    for group_index, members in enumerate(groups.values()):
        rows = np.concatenate([np.arange(spans[index].start, spans[index].stop) for index in members])
        ids = tuple(read.seen.ids[rows].tolist())
        pool_ids = tuple(read.seen.pool_ids[members].tolist())
        group = [read.terms[index] for index in members]
        given = TickInput(
            entitlements=_columns(group, read.seen, moved, rows),
            pools=_pools(group),
            state=align(whole, ids, pool_ids),
            elapsed_s=moved.elapsed_s[members],
            debt_step=debt_step,
            settings=_settings(group[0]),
        )
        result = tick(given)
        parts.append(KeptState(ids, pool_ids, result.state))
        start = 0
        for place, index in enumerate(members):
            size = read.terms[index].ids.size
            found[index] = PoolResult(
                read.terms[index], spans[index], slice(start, start + size), group_index, result, place
            )
            start += size
    return [found[index] for index in range(len(read.terms))], joined(parts)


def _settings(terms: TickTerms) -> TickSettings:
    return TickSettings(
        mode=cast(Literal["strict", "paper"], settings.MECHANISM_MODE),
        fill="drf" if terms.fill == "drf" else "max_min",
        factors=terms.factors,
        limit_interval_s=INTERVAL_MS / 1000,
        debt_interval_s=DEBT_INTERVAL_MS / 1000,
    )


def _columns(terms: list[TickTerms], seen: Seen, moved: Change, rows: Whole) -> EntitlementColumns:
    def standing(name: str) -> Floats:
        return np.concatenate([getattr(one, name) for one in terms])

    counts = [one.ids.size for one in terms]
    pool = np.repeat(np.arange(len(terms)), counts)
    # Who was refused from the first request on has no typical request of its own: without the profile's its demand
    # would be nothing, its limit would stay 0, and it would be refused for ever.
    typical = np.repeat([one.typical for one in terms], counts, axis=0).reshape(-1, 2)
    means = np.where(moved.means[rows] > 0, moved.means[rows], typical)
    service_s = seen.mean_service_s[rows]
    service_s = np.where(service_s > 0, service_s, np.repeat([one.mean_service_s for one in terms], counts))
    return EntitlementColumns(
        pool=pool,
        service_class=standing("service_class").astype(np.int64),
        state=standing("state").astype(np.int64),
        class_weight=standing("class_weight"),
        base=standing("base"),
        cap=standing("cap"),
        lendable=standing("lendable"),
        slo_ms=standing("slo_ms"),
        largest_cost_tokens=standing("largest_cost_tokens"),
        in_flight=seen.in_flight[rows],
        recent_peak=seen.peak[rows],
        used=moved.used[rows],
        offered_tokens=moved.offered[rows],
        refused=moved.refused[rows][:, TRANSIENT].sum(axis=1),
        mean_cost_tokens=means[:, 0],
        work_ratio=moved.work_ratio[rows],
        mean_kv_bytes=means[:, 1],
        mean_service_s=service_s,
    )


def _pools(terms: list[TickTerms]) -> PoolColumns:
    return PoolColumns(
        capacity=np.stack([one.capacity for one in terms]),
        sequence_kv_bytes=np.array([one.sequence_kv_bytes for one in terms]),
        mean_service_s=np.array([one.mean_service_s for one in terms]),
    )


def _write_of(one: PoolResult, next_ms: int) -> TickWrite:
    result, rows = one.result, one.group_rows
    return TickWrite(
        entitlement_ids=one.terms.ids.tolist(),
        limit_tokens_per_second=result.refill[rows].tolist(),
        bucket_tokens=np.ceil(result.bucket_size[rows]).astype(np.int64).tolist(),
        limit_kv_bytes=result.limit[rows, 1].astype(np.int64).tolist(),
        limit_concurrency=result.limit[rows, 2].astype(np.int64).tolist(),
        weights=result.weight[rows].tolist(),
        next_tick_at_ms=next_ms,
    )


def _sums_after(before: Sums, seen: Seen, moved: Change, debt_step: bool) -> Sums:
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
        **sampled,
    )


def _windows(before: TickState, moved: Change) -> Floats:
    """Seconds of the debt window that ended with this tick, per pool."""
    return np.asarray(before.window_s + moved.elapsed_s, dtype=float)


def _memory_keys(shard: int) -> tuple[str, str]:
    return f"tp:tick:{shard}:state", f"tp:tick:{shard}:sums"


def _recall(shard: int) -> Memory | None:
    kept, sums = cast(list[bytes | None], hot().mget(_memory_keys(shard)))
    return Memory.unpacked(kept, sums)


def _remember(shard: int, memory: Memory) -> None:
    hot().mset(dict(zip(_memory_keys(shard), memory.packed(), strict=True)))
