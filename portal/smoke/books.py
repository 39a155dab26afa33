"""What the books and the counters say of one pool, read when all is quiet."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from django.db.models import Count, F, Q, Sum

from billing.models import Entry, Transfer, UsageEvent, UsageMinute
from pools.choices import EndpointState, Outcome, Refusal, ServiceClass
from pools.counters.snapshot import PoolCounters
from pools.models import Endpoint, Entitlement, Pool, PoolSample, ScalingDecision
from pools.services.store import counters

MICRO = 1_000_000
ROOM_REFUSALS = (Refusal.POOL_FULL, Refusal.LOW_PRIORITY, Refusal.NO_CAPACITY, Refusal.PENDING, Refusal.DEGRADED)


@dataclass(frozen=True, slots=True)
class StoreBooks:
    """The counters: sums since the pool was configured, and what is in use now."""

    admitted: int
    admitted_by_entitlements: int
    settled: int
    expired: int
    events: int
    live: int
    backlog: int
    use_sequences: int
    use_kv_bytes: int
    entitlement_use_sequences: int
    entitlement_use_kv_bytes: int
    reserved_tokens: int
    charged: dict[int, int]
    unbalanced_buckets: int
    guaranteed_refused_for_room: int
    capacity_sequences: int


@dataclass(frozen=True, slots=True)
class UsageBooks:
    """Usage rows and their roll-ups."""

    rows: int
    distinct: int
    expired: int
    completed: int
    completed_output_tokens: int
    charged: dict[int, int]
    rolled_requests: int
    rolled_tokens: int
    tokens: int


@dataclass(frozen=True, slots=True)
class LedgerBooks:
    """Debt postings in milli-tokens."""

    transfers: int
    unbalanced: int
    sum_millitokens: int
    lonely: int


@dataclass(frozen=True, slots=True)
class ReplicaBooks:
    """Replicas wanted and there; decisions applied and whether each begins where the one before ended."""

    wanted: int
    ready: int
    alive: int
    last_chosen: int | None
    moves: int
    broken_links: int
    sequences_per_replica: int


@dataclass(frozen=True, slots=True)
class Books:
    """Everything."""

    store: StoreBooks
    usage: UsageBooks
    ledger: LedgerBooks
    replicas: ReplicaBooks
    lag_ms: tuple[int, ...]


def books_of(pool_id: int) -> Books:
    """Reads everything once. Raises CounterUnavailable."""
    return Books(
        store=_store(pool_id, counters().snapshot(pool_id)),
        usage=_usage(pool_id),
        ledger=_ledger(pool_id),
        replicas=_replicas(pool_id),
        lag_ms=tuple(PoolSample.objects.filter(pool_id=pool_id).order_by("at").values_list("lag_ms", flat=True)),
    )


def _store(pool_id: int, seen: PoolCounters) -> StoreBooks:
    pool, in_flight = seen.pool, seen.in_flight.sum(axis=0)
    ids = [int(key) for key in seen.entitlement_ids]
    balance = (
        seen.column("minted_micro")
        - seen.column("bucket_micro")
        - seen.column("spilled_micro")
        - (seen.column("reserved_tokens") + seen.column("charged_tokens")) * MICRO
    )
    guaranteed = set(
        Entitlement.objects.filter(pool_id=pool_id, tier__service_class=ServiceClass.GUARANTEED.value).values_list(
            "pk", flat=True
        )
    )
    refused = sum(
        int(seen.refused[row, reason]) for row, key in enumerate(ids) if key in guaranteed for reason in ROOM_REFUSALS
    )
    return StoreBooks(
        admitted=pool.admitted,
        admitted_by_entitlements=int(seen.column("admitted").sum()),
        settled=pool.settled,
        expired=pool.expired,
        events=pool.sequence,
        live=len(counters().live_reservations(pool_id)),
        backlog=seen.usage_backlog,
        use_sequences=pool.use_seats + pool.evicting_seats,
        use_kv_bytes=pool.use_kv + pool.evicting_kv,
        entitlement_use_sequences=int(in_flight[2]),
        entitlement_use_kv_bytes=int(in_flight[1]),
        reserved_tokens=int(in_flight[0]),
        charged={key: int(tokens) for key, tokens in zip(ids, seen.column("charged_tokens"), strict=True)},
        unbalanced_buckets=int((abs(balance) > 1).sum()),
        guaranteed_refused_for_room=refused,
        capacity_sequences=pool.capacity_seats,
    )


def _usage(pool_id: int) -> UsageBooks:
    rows = UsageEvent.objects.filter(pool_id=pool_id)
    done = Q(outcome=Outcome.COMPLETED.value)
    sums: dict[str, Any] = rows.aggregate(
        rows=Count("event_id"),
        distinct=Count("request_id", distinct=True),
        expired=Count("event_id", filter=Q(outcome=Outcome.EXPIRED.value)),
        completed=Count("event_id", filter=done),
        completed_output_tokens=Sum("output_tokens", filter=done, default=0),
        tokens=Sum(F("input_tokens") + F("output_tokens"), default=0),
    )
    charged = rows.values_list("entitlement_id").annotate(total=Sum("charged_tokens"))
    rolled = UsageMinute.objects.filter(pool_id=pool_id).aggregate(
        requests=Sum("requests", default=0), tokens=Sum(F("input_tokens") + F("output_tokens"), default=0)
    )
    return UsageBooks(
        **{name: int(value) for name, value in sums.items()},
        charged={key: int(total) for key, total in charged},
        rolled_requests=int(rolled["requests"]),
        rolled_tokens=int(rolled["tokens"]),
    )


def _ledger(pool_id: int) -> LedgerBooks:
    sums = Transfer.objects.filter(pool_id=pool_id).annotate(total=Sum("entries__amount_millitokens", default=0))
    counted = sums.annotate(parts=Count("entries"))
    total = Entry.objects.filter(transfer__pool_id=pool_id).aggregate(total=Sum("amount_millitokens", default=0))
    return LedgerBooks(
        transfers=Transfer.objects.filter(pool_id=pool_id).count(),
        unbalanced=sums.exclude(total=0).count(),
        sum_millitokens=int(total["total"]),
        lonely=counted.filter(parts__lt=2).count(),
    )


def _replicas(pool_id: int) -> ReplicaBooks:
    pool = Pool.objects.select_related("current_profile").get(pk=pool_id)
    states = list(Endpoint.objects.filter(pool_id=pool_id).values_list("state", flat=True))
    gone = {EndpointState.STOPPED.value, EndpointState.FAILED.value}
    decisions = list(
        ScalingDecision.objects.filter(pool_id=pool_id, applied=True)
        .order_by("at", "pk")
        .values_list("before", "chosen")
    )
    return ReplicaBooks(
        wanted=pool.wanted_replicas,
        ready=states.count(EndpointState.READY.value),
        alive=sum(state not in gone for state in states),
        last_chosen=decisions[-1][1] if decisions else None,
        moves=sum(before != chosen for before, chosen in decisions),
        broken_links=sum(one[1] != other[0] for one, other in pairwise(decisions)),
        sequences_per_replica=pool.current_profile.concurrency if pool.current_profile else 0,
    )
