"""What new terms of a tier would do now: the tick's own decision on a frozen snapshot, with the old terms and the new.

1 where the tier lives and the fingerprint of that state; 2 freeze what the tick reads; 3 decide twice; 4 compare.
Writes nothing anywhere.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

import numpy as np
import redis
from django.conf import settings

from pools.counters.snapshot import PoolCounters
from pools.counters.types import CounterUnavailable
from pools.models import Entitlement, Pool, Tier
from pools.services.amounts import cap_of, largest_cost_tokens
from pools.services.configuring import terms_key
from pools.services.preview_compare import Compared, compare_pool, money_of, rows_of
from pools.services.preview_state import Reach, fingerprint_of, reach_of, token_make
from pools.services.preview_types import Preview, PreviewPool, PreviewRow
from pools.services.store import counters
from pools.services.tick_decide import PoolResult, freeze, limits_decide, memory_recall
from pools.services.tick_terms import READ, TickTerms, terms_many
from pools.services.tier_terms import TierTerms
from portal.lib.errors import DomainError
from portal.lib.hot import hot

log = logging.getLogger(__name__)
MOST_ROWS = 60
AWAY = (redis.RedisError, CounterUnavailable)
NO_STORE = "The hot store cannot be reached, so nothing is known of use and limits; the change can still be saved."
NO_TICK = "No tick has run in {pool} yet: demand is unknown and taken as what is in flight."
NOT_THERE = "{pool} has no live figures yet; its limits appear with the first tick."
NO_PROFILE = "{pool} has no capacity profile, so it has no limits."


def tier_preview(tier: Tier, terms: TierTerms, now: datetime) -> Preview:
    """Before and after for every entitlement in the tier's pools, with a token for the save.

    Pools beyond ``preview_state.MOST_POOLS`` are counted, not computed. Never raises for an absent hot store or a tick
    that has not run: the preview says so instead.
    """
    reach = reach_of(tier.pk)
    token = token_make(tier.pk, fingerprint_of(tier.pk, tier.current_id, reach), terms)
    pools = {pool.pk: pool for pool in Pool.objects.filter(pk__in=reach.pool_ids).select_related("current_profile")}
    mine = list(
        Entitlement.objects.filter(tier=tier, pool_id__in=reach.pool_ids)
        .exclude(state="expired")
        .only(*READ)
        .order_by("pk")
    )
    notes: list[str] = []
    try:
        compared = _compare(pools, mine, terms, now, notes)
        known = True
    except AWAY as error:
        log.warning("a preview without live figures: %s", error)
        compared, known = [], False
        notes.append(NO_STORE)
    rows, count = _rows(compared, mine, tier)
    return _preview(reach, compared, rows, count, known, notes, token, now)


def _preview(
    reach: Reach,
    compared: Sequence[Compared],
    rows: Sequence[PreviewRow],
    count: int,
    known: bool,
    notes: list[str],
    token: str,
    now: datetime,
) -> Preview:
    pools: tuple[PreviewPool, ...] = tuple(one.pool for one in compared)
    hours = sum(pool.accelerator_hours_change for pool in pools)
    if reach.pools > len(reach.pool_ids):
        notes.append(
            f"Computed for the {len(reach.pool_ids)} pools with most of its entitlements; it lives in {reach.pools}."
        )
    return Preview(
        rows=tuple(rows),
        row_count=count,
        moved=sum(one.moved for one in compared),
        below=sum(one.below for one in compared),
        pools=pools,
        pools_total=reach.pools,
        entitlements=reach.entitlements,
        wanted_before=sum(pool.wanted_before for pool in pools),
        wanted_after=sum(pool.wanted_after for pool in pools),
        cost_change=money_of(hours),
        accelerator_hours_change=hours,
        known=known,
        notes=(*notes, *(pool.note for pool in pools if pool.note)),
        token=token,
        computed_at=now,
    )


def _compare(
    pools: dict[int, Pool], mine: Sequence[Entitlement], terms: TierTerms, now: datetime, notes: list[str]
) -> list[Compared]:
    """Each pool's limits with both terms. Raises what the store raises."""
    if not pools:
        return []
    found = cast(list[bytes | None], hot().mget([terms_key(pool_id) for pool_id in pools]))
    standing = terms_many(list(pools), [revision or b"" for revision in found], now)
    notes += [NO_PROFILE.format(pool=pool.slug) for pool in pools.values() if pool.pk not in standing]
    future = set(
        Entitlement.objects.filter(pool_id__in=list(standing), valid_from__gt=now, state="pending").values_list(
            "pk", flat=True
        )
    )
    shards: dict[int, list[int]] = defaultdict(list)
    for pool_id in sorted(standing):
        shards[pool_id % settings.TICK_SHARDS].append(pool_id)
    compared: list[Compared] = []
    for shard, candidates in shards.items():
        memory = memory_recall(shard)
        pool_ids, snapshots = _snapshots(candidates, pools, notes)
        if not pool_ids:
            continue
        before = freeze([standing[pool_id] for pool_id in pool_ids], snapshots, memory, now)
        after = replace(before, terms=[with_terms(one, pools[one.pool_id], mine, terms) for one in before.terms])
        old, _ = limits_decide(before)
        new, _ = limits_decide(after)
        ticked = set(memory.kept.pool_ids) if memory is not None else set()
        for was, will in zip(old, new, strict=True):
            note = _note(was, pools[was.terms.pool_id].slug, was.terms.pool_id in ticked)
            compared.append(compare_pool(pools[was.terms.pool_id], was, will, before.seen, future, note))
    return compared


def _snapshots(
    candidates: Sequence[int], pools: dict[int, Pool], notes: list[str]
) -> tuple[list[int], list[PoolCounters]]:
    """The counters of the pools that have any; a note for each that has none."""
    pool_ids, snapshots = [], []
    for pool_id in candidates:
        try:
            snapshots.append(counters().snapshot(pool_id))
            pool_ids.append(pool_id)
        except (CounterUnavailable, DomainError):
            notes.append(NOT_THERE.format(pool=pools[pool_id].slug))
    return pool_ids, snapshots


def _note(was: PoolResult, slug: str, ticked: bool) -> str:
    if not was.terms.ids.size:
        return NOT_THERE.format(pool=slug)
    return "" if ticked else NO_TICK.format(pool=slug)


def with_terms(standing: TickTerms, pool: Pool, mine: Sequence[Entitlement], terms: TierTerms) -> TickTerms:
    """A pool's columns with other terms for the entitlements given (those of other pools are passed over)."""
    place = {int(identity): index for index, identity in enumerate(standing.ids)}
    profile = pool.current_profile
    rows = [(place[row.pk], row) for row in mine if row.pk in place]
    if profile is None or not rows:
        return standing
    at = np.array([index for index, _ in rows], dtype=np.int64)
    caps = [cap_of(row, terms) for _, row in rows]
    columns = {name: getattr(standing, name).copy() for name in ("class_weight", "cap", "lendable", "slo_ms")}
    columns["class_weight"][at] = terms.class_weight
    columns["cap"][at] = [cap.as_tuple() for cap in caps]
    columns["lendable"][at] = terms.lendable_share
    columns["slo_ms"][at] = terms.slo_ms
    largest = standing.largest_cost_tokens.copy()
    largest[at] = [
        largest_cost_tokens(cap, profile, terms.largest_max_tokens, pool.weight_input, pool.weight_output)
        for cap in caps
    ]
    return replace(standing, **columns, largest_cost_tokens=largest)


def _rows(compared: Sequence[Compared], mine: Sequence[Entitlement], tier: Tier) -> tuple[list[PreviewRow], int]:
    """The rows worth reading: the tier's own, then others whose limits move; those that lose most first."""
    own = {row.pk for row in mine}
    ranked: list[tuple[tuple[bool, bool, float, int], Compared, int]] = []
    for one in compared:
        for index, identity in enumerate(one.ids):
            if identity in own or one.changed[index]:
                key = (not one.loses[index], identity not in own, -float(one.weightiness[index]), identity)
                ranked.append((key, one, index))
    ranked.sort(key=lambda item: item[0])
    shown = ranked[:MOST_ROWS]
    ids = [one.ids[index] for _, one, index in shown]
    known = Entitlement.objects.select_related("tenant", "tier").in_bulk(ids)
    return [
        rows_of(one, index, known[one.ids[index]], tier) for _, one, index in shown if one.ids[index] in known
    ], len(ranked)
