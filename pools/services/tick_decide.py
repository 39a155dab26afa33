"""What one tick decides, without writing anything: the tick writes it, a preview only looks at it.

1 freeze what was read: terms, counters, what moved since the last tick, the state kept; 2 decide the limits from it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, cast

import numpy as np
from django.conf import settings

from pools.counters.snapshot import PoolCounters
from pools.mechanism.ordering import Floats, Whole
from pools.mechanism.tick import tick
from pools.mechanism.tick_state import KeptState, align
from pools.mechanism.tick_types import EntitlementColumns, PoolColumns, TickInput, TickResult, TickSettings, TickState
from pools.services.samples import debts_recall
from pools.services.tick_memory import TRANSIENT, Change, Memory, Seen, Sums, aligned, change, joined, see
from pools.services.tick_terms import TickTerms
from portal.lib.hot import hot

INTERVAL_MS = 1000
DEBT_INTERVAL_MS = 5000


@dataclass(frozen=True, slots=True)
class Frozen:
    """Everything the limits of some pools follow from. ``terms`` in tick order; ``seen`` the counters now, ``before``
    at the last tick, ``moved`` the difference; ``kept`` the mechanism's own state."""

    terms: list[TickTerms]
    seen: Seen
    before: Sums
    moved: Change
    kept: TickState
    debt_step: bool

    @property
    def at_ms(self) -> float:
        """The store's time."""
        return float(self.seen.at_ms.max())


@dataclass(frozen=True, slots=True)
class PoolResult:
    """One pool's slice: its terms, rows of the shard's arrays, and what the tick was given and answered for the group
    it belongs to."""

    terms: TickTerms
    rows: slice
    group_rows: slice
    group_index: int
    given: TickInput
    result: TickResult
    pool_index: int


def freeze(terms: list[TickTerms], snapshots: list[PoolCounters], memory: Memory | None, now: datetime) -> Frozen:
    """What a tick of these pools at this moment reads; ``snapshots`` in the order of ``terms``."""
    known = [only_present(one, snapshot) for one, snapshot in zip(terms, snapshots, strict=True)]
    seen = see(snapshots, [one.ids for one in known])
    before = aligned(memory.sums if memory else None, seen, INTERVAL_MS)
    moved = change(before, seen)
    debt_step = float(seen.at_ms.max()) - float(before.sampled_ms.min()) >= DEBT_INTERVAL_MS - INTERVAL_MS / 2
    return Frozen(known, seen, before, moved, _kept(memory, seen, now), debt_step)


def only_present(terms: TickTerms, snapshot: PoolCounters) -> TickTerms:
    """The terms of those entitlements the counters know already."""
    present = np.isin(terms.ids, snapshot.entitlement_ids)
    return terms if present.all() else _only(terms, present)


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


def limits_decide(frozen: Frozen) -> tuple[list[PoolResult], KeptState]:
    """One call of the mechanism for each group of pools with the same settings: mostly one for the whole shard."""
    read, moved, state = frozen, frozen.moved, frozen.kept
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
            debt_step=frozen.debt_step,
            settings=_settings(group[0]),
        )
        result = tick(given)
        parts.append(KeptState(ids, pool_ids, result.state))
        start = 0
        for place, index in enumerate(members):
            size = read.terms[index].ids.size
            found[index] = PoolResult(
                read.terms[index], spans[index], slice(start, start + size), group_index, given, result, place
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


def memory_keys(shard: int) -> tuple[str, str]:
    """Where a shard's memory is kept."""
    return f"tp:tick:{shard}:state", f"tp:tick:{shard}:sums"


def memory_recall(shard: int) -> Memory | None:
    """What the shard's last tick left."""
    kept, sums = cast(list[bytes | None], hot().mget(memory_keys(shard)))
    return Memory.unpacked(kept, sums)
