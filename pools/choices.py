"""Closed lists of states and reasons: what each is called, what it means to a reader, whether waiting helps.

Colours are names of CSS custom properties (``static/portal/colours.css``); one colour has one meaning on every page.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple


class ServiceClass(StrEnum):
    """The five service classes of the paper, strongest promise first."""

    DEDICATED = "dedicated"
    GUARANTEED = "guaranteed"
    ELASTIC = "elastic"
    SPOT = "spot"
    PREEMPTIBLE = "preemptible"


class ClassRule(NamedTuple):
    """rank orders before any weight does; class_weight orders within a rank; burst is the default cap multiplier."""

    rank: int
    class_weight: float
    burst: float
    reserved: bool
    explicit_cap: bool
    sentence: str


CLASS_RULES: dict[ServiceClass, ClassRule] = {
    ServiceClass.DEDICATED: ClassRule(
        0, 1000.0, 2.0, True, False, "Reserved and kept even when idle; may burst to twice its baseline."
    ),
    ServiceClass.GUARANTEED: ClassRule(
        0, 1000.0, 1.0, True, False, "Reserved up to its baseline, never beyond; idle reserve may be lent."
    ),
    ServiceClass.ELASTIC: ClassRule(
        1, 100.0, 2.0, False, False, "Its baseline holds on average: served below it, it is owed and moves forward."
    ),
    ServiceClass.SPOT: ClassRule(2, 1.0, 1.0, False, True, "No promise: uses what is free and is throttled first."),
    ServiceClass.PREEMPTIBLE: ClassRule(
        3, 0.1, 1.0, False, True, "No promise: fills idle capacity and is stopped when anyone else needs it."
    ),
}


class EntitlementState(StrEnum):
    """pending → draining → bound; degraded when capacity was lost; suspended by an operator; expired by its window."""

    PENDING = "pending"
    DRAINING = "draining"
    BOUND = "bound"
    DEGRADED = "degraded"
    SUSPENDED = "suspended"
    EXPIRED = "expired"


class EndpointState(StrEnum):
    """pending → starting → ready → draining → stopped; failed from any of them."""

    PENDING = "pending"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class EndpointDeed(StrEnum):
    """What an operator may ask of an endpoint: drain waits for the last stream and lets another take over; restart does
    so in the same place; stop waits for nothing."""

    DRAIN = "drain"
    RESTART = "restart"
    STOP = "stop"


class Refusal(IntEnum):
    """Why a request was not admitted. The numbers travel in the packed replies of the hot store and never change."""

    SUSPENDED = 1
    EXPIRED = 2
    PENDING = 3
    DEGRADED = 4
    NEVER_FITS = 5
    CONCURRENCY = 6
    TOKEN_BUDGET = 7
    KV_BUDGET = 8
    POOL_FULL = 9
    NO_CAPACITY = 10
    LOW_PRIORITY = 11
    UNKNOWN_ENTITLEMENT = 12

    @property
    def code(self) -> str:
        """The stable lower-case code used in API answers, metrics and charts."""
        return self.name.lower()


class RefusalRule(NamedTuple):
    """status is the HTTP status; transient says whether the same request may succeed later."""

    status: int
    transient: bool
    label: str
    sentence: str


REFUSAL_RULES: dict[Refusal, RefusalRule] = {
    Refusal.SUSPENDED: RefusalRule(
        403, False, "suspended", "The entitlement is suspended; ask the operator to resume it."
    ),
    Refusal.EXPIRED: RefusalRule(
        403, False, "expired", "The entitlement's validity window has ended; ask for a renewal."
    ),
    Refusal.PENDING: RefusalRule(
        503, True, "pending", "The entitlement is not bound yet: its capacity is being started."
    ),
    Refusal.DEGRADED: RefusalRule(
        503, True, "degraded", "The pool lost capacity and cannot keep this promise right now."
    ),
    Refusal.NEVER_FITS: RefusalRule(
        413,
        False,
        "never fits",
        "The request is larger than the entitlement can ever admit; lower max_tokens or the prompt.",
    ),
    Refusal.CONCURRENCY: RefusalRule(429, True, "concurrency", "All concurrent slots of the entitlement are in use."),
    Refusal.TOKEN_BUDGET: RefusalRule(
        429, True, "token budget", "The token bucket does not hold enough for this request yet."
    ),
    Refusal.KV_BUDGET: RefusalRule(429, True, "KV budget", "The KV-cache share of the entitlement is in use."),
    Refusal.POOL_FULL: RefusalRule(
        429, True, "pool full", "The pool has no room beside what is held for other promises."
    ),
    Refusal.NO_CAPACITY: RefusalRule(503, True, "no capacity", "The pool has no ready replica at the moment."),
    Refusal.LOW_PRIORITY: RefusalRule(
        429, True, "low priority", "The pool is contended and the entitlement is at its present limit."
    ),
    Refusal.UNKNOWN_ENTITLEMENT: RefusalRule(
        503, True, "unknown entitlement", "The admission store does not know this entitlement yet; it is being rebuilt."
    ),
}


class Outcome(StrEnum):
    """How a reservation ended."""

    COMPLETED = "completed"
    CLIENT_GONE = "client_gone"
    UPSTREAM_ERROR = "upstream_error"
    TIMEOUT = "timeout"
    PREEMPTED = "preempted"
    EXPIRED = "expired"
    RELEASED = "released"


class FailMode(StrEnum):
    """What a gateway does with a request when the counter store cannot be reached."""

    OPEN = "open"
    CLOSED = "closed"


class ScalingMode(StrEnum):
    """automatic applies decisions; advisory only records them."""

    AUTOMATIC = "automatic"
    ADVISORY = "advisory"
