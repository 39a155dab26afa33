"""The standing part of a tick: a pool's entitlements as columns, read from the books only when they changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db.models import Q

from pools.choices import EntitlementState
from pools.mechanism.amounts import Rate
from pools.mechanism.ordering import Floats, WeightFactors, Whole
from pools.models import Entitlement, Pool, Tier
from pools.services.amounts import (
    CLASS_CODES,
    STATE_CODES,
    base_of,
    cap_of,
    largest_cost_tokens,
    mean_cost_tokens,
    mean_service_s,
)
from pools.services.supply import supplies_of

READ = (
    "pool_id",
    "tenant_id",
    "tier_id",
    "state",
    "base_tokens_per_second",
    "base_kv_bytes",
    "base_concurrency",
    "cap_tokens_per_second",
    "cap_kv_bytes",
    "cap_concurrency",
)
"""What the columns are made of; a large pool is read several times as fast without the rest."""
LONGEST_CACHED = timedelta(seconds=60)
"""A publication that could not be announced is noticed at the latest after this."""


@dataclass(frozen=True, slots=True)
class TickTerms:
    """One pool: E entitlements as columns, ordered by id. ``capacity`` [3] of the READY replicas; ``typical``: tokens
    and KV bytes of the profile's typical request, taken for an entitlement none of whose requests was seen yet."""

    pool_id: int
    slug: str
    revision: bytes
    read_at: datetime
    capacity: Floats
    sequence_kv_bytes: float
    mean_service_s: float
    typical: tuple[float, float]
    factors: WeightFactors
    fill: str
    ids: Whole
    tenant_ids: Whole
    service_class: Whole
    state: Whole
    class_weight: Floats
    base: Floats
    cap: Floats
    lendable: Floats
    slo_ms: Floats
    largest_cost_tokens: Floats


_cache: dict[int, TickTerms] = {}


def terms_for(pool_id: int, revision: bytes, now: datetime) -> TickTerms | None:
    """The pool's terms: this process's copy while its revision stands, else read anew. None: no capacity profile.

    When the books cannot be read, an old copy serves on: limits keep moving while Postgres restarts.
    """
    cached = _cache.get(pool_id)
    if cached is not None and cached.revision == revision and now - cached.read_at < LONGEST_CACHED:
        return cached
    fresh = terms_read(pool_id, revision, now)
    if fresh is None:
        _cache.pop(pool_id, None)
    else:
        _cache[pool_id] = fresh
    return fresh


def terms_cached(pool_id: int) -> TickTerms | None:
    """This process's last copy, however old."""
    return _cache.get(pool_id)


def terms_many(pool_ids: Sequence[int], revisions: Sequence[bytes], now: datetime) -> dict[int, TickTerms]:
    """:func:`terms_for` of several pools, reading those that are not cached together: four queries at most."""
    found: dict[int, TickTerms] = {}
    missing: dict[int, bytes] = {}
    for pool_id, revision in zip(pool_ids, revisions, strict=True):
        cached = _cache.get(pool_id)
        if cached is not None and cached.revision == revision and now - cached.read_at < LONGEST_CACHED:
            found[pool_id] = cached
        else:
            missing[pool_id] = revision
    if missing:
        fresh = _read(missing, now)
        _cache.update(fresh)
        found |= fresh
    return found


def terms_read(pool_id: int, revision: bytes, now: datetime) -> TickTerms | None:
    """The terms from the books."""
    return _read({pool_id: revision}, now).get(pool_id)


def _read(revisions: Mapping[int, bytes], now: datetime) -> dict[int, TickTerms]:
    pools = list(
        Pool.objects.select_related("current_profile").filter(
            pk__in=list(revisions), archived_at__isnull=True, current_profile__isnull=False
        )
    )
    supplies = supplies_of(pools)
    rows: dict[int, list[Entitlement]] = {pool.pk: [] for pool in pools}
    living = Entitlement.objects.filter(~Q(state=EntitlementState.EXPIRED.value), pool_id__in=list(rows))
    tiers = Tier.objects.filter(current__isnull=False).select_related("current").in_bulk()
    for row in living.only(*READ).order_by("pk"):
        if row.tier_id in tiers:
            row.tier = tiers[row.tier_id]
            rows[row.pool_id].append(row)
    return {pool.pk: _columns(pool, rows[pool.pk], supplies[pool.pk].ready, revisions[pool.pk], now) for pool in pools}


def _columns(pool: Pool, rows: list[Entitlement], ready: Rate, revision: bytes, now: datetime) -> TickTerms:
    profile = pool.current_profile
    assert profile is not None
    versions = [row.tier.current for row in rows if row.tier.current is not None]
    caps = [cap_of(row, version) for row, version in zip(rows, versions, strict=True)]
    largest = [
        largest_cost_tokens(cap, profile, version.largest_max_tokens, pool.weight_input, pool.weight_output)
        for cap, version in zip(caps, versions, strict=True)
    ]
    count = len(rows)
    return TickTerms(
        pool_id=pool.pk,
        slug=pool.slug,
        revision=revision,
        read_at=now,
        capacity=np.array(ready.as_tuple(), dtype=float),
        sequence_kv_bytes=float(profile.planned_context * profile.kv_bytes_per_token),
        mean_service_s=mean_service_s(profile),
        typical=(
            mean_cost_tokens(profile, pool.weight_input, pool.weight_output),
            (profile.mean_input_tokens + profile.mean_output_tokens) * profile.kv_bytes_per_token,
        ),
        factors=WeightFactors(pool.alpha_slo, pool.alpha_burst, pool.alpha_debt),
        fill=pool.fill,
        ids=np.array([row.pk for row in rows], dtype=np.int64),
        tenant_ids=np.array([row.tenant_id for row in rows], dtype=np.int64),
        service_class=np.array([CLASS_CODES[row.tier.service_class] for row in rows], dtype=np.int64),
        state=np.array([STATE_CODES[row.state] for row in rows], dtype=np.int64),
        class_weight=np.array([version.class_weight for version in versions], dtype=float),
        base=np.array([base_of(row).as_tuple() for row in rows], dtype=float).reshape(count, 3),
        cap=np.array([cap.as_tuple() for cap in caps], dtype=float).reshape(count, 3),
        lendable=np.array([version.lendable_share for version in versions], dtype=float),
        slo_ms=np.array([version.slo_ms for version in versions], dtype=float),
        largest_cost_tokens=np.array(largest, dtype=float),
    )
