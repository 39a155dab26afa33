"""Rows to the mechanism's amounts: base, cap, class and state of an entitlement, capacity of a profile."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Protocol

from pools.choices import EntitlementState, ServiceClass
from pools.mechanism.amounts import Rate
from pools.mechanism.eviction import Lease
from pools.mechanism.ordering import ClassCode, StateCode
from pools.models import CapacityProfile, Entitlement

CLASS_CODES: dict[str, ClassCode] = {name.value: ClassCode(index) for index, name in enumerate(ServiceClass)}
STATE_CODES: dict[str, StateCode] = {name.value: StateCode(index) for index, name in enumerate(EntitlementState)}
NOTHING = Rate(0, 0, 0)


def base_of(entitlement: Entitlement) -> Rate:
    """What is promised."""
    return Rate(entitlement.base_tokens_per_second, entitlement.base_kv_bytes, entitlement.base_concurrency)


def lease_of(entitlement: Entitlement) -> Lease:
    """A reserved promise as capacity loss looks at it: the newest gives way first. Reads the tier."""
    since = entitlement.bound_at or entitlement.created_at
    return Lease(
        entitlement.pk,
        CLASS_CODES[entitlement.tier.service_class],
        base_of(entitlement),
        int(since.timestamp() * 1000),
    )


class Bursts(Protocol):
    """Whatever says how far above its base an entitlement may go: a stored version, or terms being typed."""

    @property
    def burst_tokens(self) -> Decimal: ...
    @property
    def burst_kv(self) -> Decimal: ...
    @property
    def burst_concurrency(self) -> Decimal: ...


def cap_of(entitlement: Entitlement, version: Bursts) -> Rate:
    """The ceiling: the explicit cap where given, else base times the tier's burst multiplier, rounded down."""
    base = base_of(entitlement).as_tuple()
    given = (entitlement.cap_tokens_per_second, entitlement.cap_kv_bytes, entitlement.cap_concurrency)
    times = (version.burst_tokens, version.burst_kv, version.burst_concurrency)
    caps = [
        usual * thousandths(by) // 1000 if cap is None else cap
        for usual, cap, by in zip(base, given, times, strict=True)
    ]
    return Rate(*caps)


@lru_cache(maxsize=1024)
def thousandths(burst: Decimal) -> int:
    """A burst multiplier, kept to a thousandth, as a whole number of them: whole numbers multiply fast and exactly."""
    return int(burst * 1000)


def replica_of(profile: CapacityProfile | None) -> Rate:
    """One replica's capacity; nothing without a profile."""
    if profile is None:
        return NOTHING
    return Rate(profile.tokens_per_second, profile.kv_bytes, profile.concurrency)


def mean_cost_tokens(profile: CapacityProfile, weight_input: int, weight_output: int) -> float:
    """Tokens the typical request costs."""
    return weight_input * profile.mean_input_tokens + weight_output * profile.mean_output_tokens


def mean_service_s(profile: CapacityProfile) -> float:
    """Seconds the typical request runs on a full replica."""
    between_ms = profile.itl_base_ms + profile.itl_per_sequence_ms * profile.concurrency
    return (
        profile.mean_input_tokens / profile.prefill_tokens_per_second + profile.mean_output_tokens * between_ms / 1000
    )


def largest_cost_tokens(
    cap: Rate, profile: CapacityProfile, largest_max_tokens: int, weight_input: int, weight_output: int
) -> int:
    """Tokens of the largest request that may be admitted: bounded by the context and by the KV bytes of the cap."""
    room = min(profile.context_length, cap.kv_bytes // profile.kv_bytes_per_token)
    output = min(largest_max_tokens, room)
    if weight_output < weight_input:
        output = min(output, 1)
    return weight_input * (room - output) + weight_output * output
