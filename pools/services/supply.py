"""What a pool has and what it promised: read by binding, admission and scaling from the one capacity record."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q, Sum

from pools.choices import EndpointState, EntitlementState, ServiceClass
from pools.mechanism.amounts import Rate
from pools.mechanism.capacity import pool_capacity
from pools.mechanism.lease import Promises, Supply
from pools.models import Endpoint, Entitlement, Pool
from pools.services.amounts import replica_of

RESERVED = (ServiceClass.DEDICATED.value, ServiceClass.GUARANTEED.value)
PROMISED_STATES = (
    EntitlementState.PENDING.value,
    EntitlementState.DRAINING.value,
    EntitlementState.BOUND.value,
    EntitlementState.DEGRADED.value,
)
HELD_STATES = (EntitlementState.DRAINING.value, EntitlementState.BOUND.value)


def ready_rates(pool_id: int) -> list[Rate]:
    """Capacity of each READY replica, by the profile it was started with."""
    rows = Endpoint.objects.filter(pool_id=pool_id, state=EndpointState.READY.value, profile__isnull=False).values_list(
        "profile__tokens_per_second", "profile__kv_bytes", "profile__concurrency"
    )
    return [Rate(*row) for row in rows]


def capacity_less(rates: Iterable[Rate], away: Rate) -> Rate:
    """Capacity of replicas without one of them."""
    whole = pool_capacity(list(rates)).as_tuple()
    return Rate(*(max(0, has - own) for has, own in zip(whole, away.as_tuple(), strict=True)))


def supply_of(pool: Pool) -> Supply:
    """Ready capacity, one more replica's capacity, and the counts."""
    ready = ready_rates(pool.pk)
    return Supply(pool_capacity(ready), replica_of(pool.current_profile), len(ready), pool.max_replicas)


def promises_of(pool_id: int, *, without: int | None = None, states: Iterable[str] = PROMISED_STATES) -> Promises:
    """Sums of base over the reserved classes and over elastic, in the given states, leaving one entitlement out."""
    reserved = Q(tier__service_class__in=RESERVED)
    elastic = Q(tier__service_class=ServiceClass.ELASTIC.value)
    names = ("base_tokens_per_second", "base_kv_bytes", "base_concurrency")
    rows = Entitlement.objects.filter(pool_id=pool_id, state__in=tuple(states))
    if without is not None:
        rows = rows.exclude(pk=without)
    sums = rows.aggregate(
        **{f"reserved_{name}": Sum(name, filter=reserved, default=0) for name in names},
        **{f"elastic_{name}": Sum(name, filter=elastic, default=0) for name in names},
    )
    return Promises(
        reserved=Rate(*(int(sums[f"reserved_{name}"]) for name in names)),
        elastic=Rate(*(int(sums[f"elastic_{name}"]) for name in names)),
    )


def supplies_of(pools: Iterable[Pool]) -> dict[int, Supply]:
    """Pool id → :func:`supply_of`, for many pools with one query."""
    found = list(pools)
    ready: dict[int, list[Rate]] = {pool.pk: [] for pool in found}
    rows = Endpoint.objects.filter(
        pool_id__in=list(ready), state=EndpointState.READY.value, profile__isnull=False
    ).values_list("pool_id", "profile__tokens_per_second", "profile__kv_bytes", "profile__concurrency")
    for pool_id, *rate in rows:
        ready[pool_id].append(Rate(*rate))
    return {
        pool.pk: Supply(
            pool_capacity(ready[pool.pk]), replica_of(pool.current_profile), len(ready[pool.pk]), pool.max_replicas
        )
        for pool in found
    }
