"""What goes into and comes out of the counters. Small and hot: named tuples of whole numbers.

Quantities follow the order tokens, kv_bytes, concurrency. Times are milliseconds; ``_at_ms`` since 1970 by the
store's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pools.choices import EntitlementState, Outcome, ServiceClass
from pools.mechanism.admission import Ask, Decision
from pools.mechanism.amounts import Rate
from pools.mechanism.settlement import Settled, Settlement

__all__ = [
    "Ask",
    "CounterUnavailable",
    "Decision",
    "Drift",
    "EntitlementCounterConfig",
    "Heartbeat",
    "HeartbeatReply",
    "LiveReservation",
    "PoolCounterConfig",
    "Settled",
    "Settlement",
    "TickWrite",
    "UsageEvent",
]

Numbers = Sequence[float] | npt.NDArray[np.float64] | npt.NDArray[np.int64]
STATES: tuple[EntitlementState, ...] = (
    EntitlementState.PENDING,
    EntitlementState.DRAINING,
    EntitlementState.BOUND,
    EntitlementState.DEGRADED,
    EntitlementState.SUSPENDED,
    EntitlementState.EXPIRED,
)
CLASSES: tuple[ServiceClass, ...] = tuple(ServiceClass)
OUTCOMES: tuple[Outcome, ...] = tuple(Outcome)
SOURCES: tuple[str, ...] = ("engine", "counted", "reserved")


class CounterUnavailable(Exception):  # noqa: N818 - it names a condition callers handle, not a fault
    """The store did not answer in time or the connection broke. Nothing is known about the call; reserve, settle and
    heartbeat may be repeated with the same request id, a repeated call never counts twice."""


class Heartbeat(NamedTuple):
    """Extends a lease to now + lease_ms and reports how many tokens the stream has produced so far."""

    pool_id: int
    entitlement_id: int
    request_id: str
    lease_ms: int = 60_000
    streamed_tokens: int = 0


class HeartbeatReply(NamedTuple):
    """``alive`` false: unknown, settled or expired. ``evicted``: stop the stream and settle it as preempted."""

    alive: bool
    evicted: bool
    expires_at_ms: int


class LiveReservation(NamedTuple):
    """A reservation that is not settled yet."""

    entitlement_id: int
    request_id: str
    tokens: int
    kv_bytes: int
    concurrency: int
    started_at_ms: int
    expires_at_ms: int
    evicted: bool


class Drift(NamedTuple):
    """How far a pool's counters are from the live reservations they should follow, all at one moment.

    The pool's figures are signed (counters minus reservations); the entitlements' add up without their signs.
    """

    live: int
    pool_sequences: int
    pool_kv_bytes: int
    entitlement_sequences: int
    entitlement_tokens: int

    @property
    def sequences(self) -> int:
        """One figure: sequences that are counted and are not there, or the reverse; 1 where only amounts differ."""
        amounts = 1 if self.pool_kv_bytes or self.entitlement_tokens else 0
        return max(abs(self.pool_sequences), self.entitlement_sequences, amounts)


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """How one reservation ended; written by the store in the same atomic step. ``stream_id`` acknowledges it.

    ``sequence`` rises by one per event of a pool: a gap says that events were lost (the stream's bound was reached
    undrained). ``spilled_tokens`` rounds down. ``duration_ms`` is the gateway's, or settled − started where it gave
    none.
    """

    stream_id: str
    sequence: int
    request_id: str
    pool_id: int
    entitlement_id: int
    key_id: int
    outcome: Outcome
    source: str
    reserved_tokens: int
    charged_tokens: int
    spilled_tokens: int
    overrun_tokens: int
    kv_bytes: int
    concurrency: int
    started_at_ms: int
    settled_at_ms: int
    capacity_version: int
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    prompt_bytes: int = 0
    ttft_ms: int = 0
    duration_ms: int = 0
    endpoint_id: int = 0


@dataclass(frozen=True, slots=True)
class PoolCounterConfig:
    """The one capacity record of a pool as the hot path needs it.

    ``capacity`` is the sum over ready replicas. Margins: the free room below which the pool counts as contended; None
    = 6 %, at least one sequence. ``draining`` is withheld for leases that are being bound.
    """

    pool_id: int
    capacity: Rate
    ready_replicas: int
    capacity_version: int
    draining: Rate = field(default_factory=lambda: Rate(0, 0, 0))
    margin_kv_bytes: int | None = None
    margin_concurrency: int | None = None
    next_tick_at_ms: int = 0
    mean_service_ms: int = 0


@dataclass(frozen=True, slots=True)
class EntitlementCounterConfig:
    """The terms of one entitlement.

    ``limit`` is what the tick would write; it is used until the first tick, and at each configure only where the
    store has no limits of a tick yet (``force_limits`` overrides). ``bucket_tokens`` = max(10 s x limit, largest
    admissible request). ``lend_percent`` is the tier's lendable share of idle reserve (0 for dedicated, whatever is
    given).
    """

    entitlement_id: int
    state: EntitlementState
    service_class: ServiceClass
    base: Rate
    cap: Rate
    limit: Rate
    bucket_tokens: int
    lend_percent: int = 0
    weight: float = 1.0
    valid_until_ms: int = 0
    force_limits: bool = False


@dataclass(frozen=True, slots=True)
class TickWrite:
    """What a tick writes back for one pool; row i of every sequence belongs to entitlement_ids[i].

    ``limit_tokens_per_second`` may be fractional (kept to a thousandth). ``next_tick_at_ms``: who is refused until the
    limits move is told to come back then; 0 leaves what is there. ``pool`` None leaves the capacity record alone.
    """

    entitlement_ids: Numbers
    limit_tokens_per_second: Numbers
    bucket_tokens: Numbers
    limit_kv_bytes: Numbers
    limit_concurrency: Numbers
    weights: Numbers
    next_tick_at_ms: int = 0
    pool: PoolCounterConfig | None = None
