"""Every key and channel of the hot store. All keys of one pool carry one hash tag, so a call never crosses cluster
slots.

The function library receives only the pool's tag key (``{tp:7}``) and derives the others from it by these same
suffixes.
"""

from __future__ import annotations

REVOKED_CHANNEL = "tp:revoked"
POOLS_KEY = "tp:pools"
LIBRARY_GUARD_KEY = "tp:library"


def pool_key(pool_id: int) -> str:
    """The pool's packed state; also the one declared key of every function call."""
    return f"{{tp:{pool_id}}}"


def entitlement_key(pool_id: int, entitlement_id: int) -> str:
    """Packed hot state of an entitlement: bucket, use, running sums."""
    return f"{{tp:{pool_id}}}:e:{entitlement_id}"


def terms_key(pool_id: int, entitlement_id: int) -> str:
    """Packed terms of an entitlement: state, class, caps, base, limits, weight."""
    return f"{{tp:{pool_id}}}:c:{entitlement_id}"


def reservation_key(pool_id: int, entitlement_id: int, request_id: str) -> str:
    """One reservation, live or finished; deleted by the reaper after its lease."""
    return f"{{tp:{pool_id}}}:r:{entitlement_id}:{request_id}"


def lease_bucket_key(pool_id: int, bucket: int) -> str:
    """Set of ``entitlement:request`` whose lease ends in this slice of time (see records.LEASE_BUCKET_MS)."""
    return f"{{tp:{pool_id}}}:x:{bucket}"


def preemptible_key(pool_id: int) -> str:
    """Hash of the live preemptible reservations: the candidates of an eviction."""
    return f"{{tp:{pool_id}}}:v"


def members_key(pool_id: int) -> str:
    """Set of the entitlement ids configured in the pool."""
    return f"{{tp:{pool_id}}}:ids"


def usage_key(pool_id: int) -> str:
    """Stream of usage events."""
    return f"{{tp:{pool_id}}}:usage"


def test_clock_key(pool_id: int) -> str:
    """Milliseconds the library takes for the time when it was loaded for tests."""
    return f"{{tp:{pool_id}}}:now"


def eviction_channel(pool_id: int) -> str:
    """Messages: lines ``entitlement_id:request_id`` of reservations that were evicted."""
    return f"tp:evict:{pool_id}"


def release_channel(pool_id: int) -> str:
    """Messages: the pool's concurrency in use, sent when room came free while somebody holds a refused request."""
    return f"tp:release:{pool_id}"


def key_document(digest: str) -> str:
    """JSON of what one API key may use."""
    return f"tp:key:{digest}"


def route_document(pool_id: int) -> str:
    """JSON of a pool's model and endpoints."""
    return f"tp:route:{pool_id}"
