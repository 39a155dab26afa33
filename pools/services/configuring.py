"""Terms of a pool and its entitlements, from the books into the counters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from django.db.models import Q

from pools.choices import EntitlementState, ServiceClass
from pools.counters.keys import members_key
from pools.counters.types import EntitlementCounterConfig, PoolCounterConfig
from pools.mechanism.amounts import Rate
from pools.mechanism.capacity import pool_capacity
from pools.models import Entitlement, Pool
from pools.services.amounts import base_of, cap_of, largest_cost_tokens, mean_service_s
from pools.services.store import counters, hot
from pools.services.supply import promises_of, ready_rates
from portal.lib.errors import DomainError

BUCKET_SECONDS = 10
KEPT_AFTER_END = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """A pool's capacity record and its entitlements' terms, as the counters want them."""

    pool: PoolCounterConfig
    entitlements: list[EntitlementCounterConfig]


def terms_key(pool_id: int) -> str:
    """Counts publications of a pool's terms, so that the tick knows when its cached copy is old."""
    return f"{{tp:{pool_id}}}:revision"


def counters_configure(pool_id: int, now: datetime, *, force_limits: bool = False) -> None:
    """Writes a pool's terms into the counters and removes what ended an hour ago. Errors of the store pass through."""
    terms = pool_terms(pool_id, now, force_limits=force_limits)
    if terms is None:
        return
    store = counters()
    store.configure_pool(terms.pool)
    store.configure_entitlements(pool_id, terms.entitlements)
    members = cast(set[bytes], hot().smembers(members_key(pool_id)))
    for gone in {int(member) for member in members} - {one.entitlement_id for one in terms.entitlements}:
        store.remove_entitlement(pool_id, gone)
    hot().incr(terms_key(pool_id))


def pool_terms(pool_id: int, now: datetime, *, force_limits: bool = False) -> PoolTerms | None:
    """The terms, read from the books; None for a pool without a capacity profile."""
    pool = Pool.objects.select_related("current_profile").filter(pk=pool_id, archived_at__isnull=True).first()
    if pool is None or pool.current_profile is None:
        return None
    rows = (
        Entitlement.objects.filter(pool_id=pool_id)
        .filter(~Q(state=EntitlementState.EXPIRED.value) | Q(state_since__gt=now - KEPT_AFTER_END))
        .select_related("tier__current")
    )
    return PoolTerms(
        pool_config(pool), [entitlement_config(row, pool, force_limits) for row in rows if row.tier.current is not None]
    )


def pool_config(pool: Pool) -> PoolCounterConfig:
    """The pool's capacity record: the sum over READY replicas, and what is withheld for leases being bound."""
    profile = pool.current_profile
    if profile is None:
        raise DomainError("no_profile", f"{pool.name} has no capacity profile yet; publish one first.", status=409)
    ready = ready_rates(pool.pk)
    draining = promises_of(pool.pk, states=[EntitlementState.DRAINING.value]).reserved
    return PoolCounterConfig(
        pool_id=pool.pk,
        capacity=pool_capacity(ready),
        ready_replicas=len(ready),
        capacity_version=profile.version,
        draining=draining,
        mean_service_ms=max(1, round(mean_service_s(profile) * 1000)),
    )


def entitlement_config(row: Entitlement, pool: Pool, force_limits: bool) -> EntitlementCounterConfig:
    """One entitlement's terms; until its first tick its limit is its base, or its cap when it has no base."""
    version, profile = row.tier.current, pool.current_profile
    assert version is not None and profile is not None
    base, cap = base_of(row), cap_of(row, version)
    limit = Rate(*(usual or most for usual, most in zip(base.as_tuple(), cap.as_tuple(), strict=True)))
    largest = largest_cost_tokens(cap, profile, version.largest_max_tokens, pool.weight_input, pool.weight_output)
    return EntitlementCounterConfig(
        entitlement_id=row.pk,
        state=EntitlementState(row.state),
        service_class=ServiceClass(row.tier.service_class),
        base=base,
        cap=cap,
        limit=limit,
        bucket_tokens=max(BUCKET_SECONDS * limit.tokens_per_second, largest),
        lend_percent=round(version.lendable_share * 100),
        weight=version.class_weight,
        valid_until_ms=int(row.valid_until.timestamp() * 1000) if row.valid_until else 0,
        force_limits=force_limits,
    )
