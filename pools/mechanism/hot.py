"""The state admission decides on, as whole numbers: what the hot store keeps packed, field for field.

Units: ``_micro`` is a millionth of a token (milli-tokens per second x milliseconds), times are milliseconds since 1970,
``kv`` is bytes, ``seats`` are sequences in flight. Sums marked *wrapping* count modulo ``WRAP`` (2^52), so that every
value stays exact in a double; take differences with :func:`wrapped_difference`. Source: Token Pools design.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WRAP = 1 << 52
MICRO = 1_000_000
KV_UNIT = 65_536
"""KV-cache integrals count whole units of 64 KiB x milliseconds."""
PEAK_SLICE_MS = 10_000
PEAK_SLICES = 5
"""Older slices kept beside the current one: together the last 60 seconds."""
OFFERS_KEPT = 8
OFFER_TAG_BYTES = 8
LEASE_BUCKET_MS = 5_000
REFUSAL_SLOTS = 13
"""One counter per number of ``pools.choices.Refusal``; slot 0 is unused."""

STATE_PENDING, STATE_DRAINING, STATE_BOUND, STATE_DEGRADED, STATE_SUSPENDED, STATE_EXPIRED = range(6)
CLASS_DEDICATED, CLASS_GUARANTEED, CLASS_ELASTIC, CLASS_SPOT, CLASS_PREEMPTIBLE = range(5)
RANK_OF_CLASS = (0, 0, 1, 2, 3)


def wrapped_difference(new: int, old: int) -> int:
    """new − old of a wrapping sum, in −WRAP/2 … WRAP/2."""
    return (new - old + WRAP // 2) % WRAP - WRAP // 2


@dataclass(slots=True)
class Terms:
    """What an entitlement is allowed; written by the control plane (first part) and the tick (second part)."""

    state: int = STATE_BOUND
    service_class: int = CLASS_ELASTIC
    cap_kv: int = 0
    cap_seats: int = 0
    base_kv: int = 0
    base_seats: int = 0
    lend_percent: int = 0
    sequence_kv: int = 0
    valid_until_ms: int = 0
    refill_milli: int = 0
    bucket_size_micro: int = 0
    limit_kv: int = 0
    limit_seats: int = 0
    weight_micro: int = 0

    @property
    def rank(self) -> int:
        return RANK_OF_CLASS[self.service_class]


@dataclass(slots=True)
class EntitlementHot:
    """What an entitlement has and uses now, and the running sums the tick reads.

    minted = bucket + reserved + charged + spilled (in micro-tokens) at all times.
    ``work_micro`` (wrapping): tokens of work done, a request's tokens spread over its run by its expected rate and put
    right when it settles; ``offered_tokens`` (wrapping): asked for, refused or not, one offer counted once.
    """

    at_ms: int = 0
    bucket_micro: int = 0
    minted_micro: int = 0
    spilled_micro: int = 0
    charged_tokens: int = 0
    reserved_tokens: int = 0
    use_kv: int = 0
    use_seats: int = 0
    integral_kv: int = 0
    integral_seats: int = 0
    work_micro: int = 0
    work_rate: int = 0
    mean_charge_micro: int = 0
    mean_service_us: int = 0
    mean_cost_micro: int = 0
    mean_kv: int = 0
    offered_tokens: int = 0
    admitted: int = 0
    streak: int = 0
    peak_slice: int = 0
    current_kv: int = 0
    current_seats: int = 0
    older_kv: int = 0
    older_seats: int = 0
    hold_kv: int = 0
    hold_seats: int = 0
    hold_strict: int = 0
    refused: list[int] = field(default_factory=lambda: [0] * REFUSAL_SLOTS)
    slices: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)] * PEAK_SLICES)
    offers: bytes = b"\0" * (OFFERS_KEPT * OFFER_TAG_BYTES)


@dataclass(slots=True)
class PoolHot:
    """Use and holds of a pool, then (second part) its capacity record as the tick wrote it.

    ``use`` counts live reservations that were not evicted; ``evictable`` is the preemptible part of it; ``evicting`` is
    what victims still occupy until their gateway settles them. ``strict_hold`` is what even preemptible work must
    leave.
    """

    at_ms: int = 0
    use_kv: int = 0
    use_seats: int = 0
    evictable_kv: int = 0
    evictable_seats: int = 0
    evicting_kv: int = 0
    evicting_seats: int = 0
    hold_kv: int = 0
    hold_seats: int = 0
    strict_hold_kv: int = 0
    strict_hold_seats: int = 0
    contended: int = 0
    wait_until_ms: int = 0
    mean_service_us: int = 0
    sequence: int = 0
    integral_kv: int = 0
    integral_seats: int = 0
    reap_from: int = 0
    admitted: int = 0
    settled: int = 0
    expired: int = 0
    evicted: int = 0
    capacity_kv: int = 0
    capacity_seats: int = 0
    ready_replicas: int = 0
    margin_kv: int = 0
    margin_seats: int = 0
    draining_kv: int = 0
    draining_seats: int = 0
    capacity_version: int = 0
    next_tick_ms: int = 0
    mode: int = 0


@dataclass(slots=True)
class Reservation:
    """One admitted request. ``status``: 1 live, 2 evicted (victim, not settled yet), 3 settled, 4 expired."""

    status: int
    tokens: int
    kv: int
    seats: int
    started_ms: int
    expires_ms: int
    key_id: int
    capacity_version: int
    work_rate: int
    worked_micro: int
    worked_at_ms: int
    streamed_tokens: int
    rank: int
    charged_tokens: int = 0
    spilled_micro: int = 0
    overrun_tokens: int = 0


LIVE, EVICTED, SETTLED, EXPIRED = 1, 2, 3, 4
