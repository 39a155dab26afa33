"""How long a refused caller should wait: an estimate from what frees the binding limit, then jitter and back-off.

Retry-After = clamp(ceil(t x (1 + U[0, 1/4]) x 2^min(streak, 4)), 1, 60) seconds. Source: Token Pools design, section 4.
"""

from __future__ import annotations

from typing import NamedTuple

from pools.mechanism.hot import KV_UNIT, PoolHot

STORE_WAIT_MS = 1_000
NO_CAPACITY_WAIT_MS = 5_000
LONGEST_WAIT_MS = 3_600_000
DEFAULT_SERVICE_MS = 1_000
LARGEST_BACKOFF = 4


class RetryAfter(NamedTuple):
    """``seconds`` for the Retry-After header, ``milliseconds`` for retry-after-ms."""

    seconds: int
    milliseconds: int


def retry_after(wait_ms: int, streak: int, jitter: float) -> RetryAfter:
    """The wait to announce. ``jitter`` in [0, 1) is drawn by the caller; raises ValueError outside.

    Both figures are clamped to 1 to 60 s, so that nobody returns at once or never.
    """
    if not 0.0 <= jitter < 1.0:
        raise ValueError(f"jitter must be in [0, 1), not {jitter!r}")
    raised = wait_ms * (1.0 + jitter / 4.0) * 2 ** min(max(streak, 0), LARGEST_BACKOFF)
    milliseconds = min(60_000, max(1_000, int(raised)))
    return RetryAfter(seconds=min(60, -(-milliseconds // 1000)), milliseconds=milliseconds)


def service_ms(pool: PoolHot) -> int:
    """Mean service time of the pool, a guess before the first settlement."""
    return pool.mean_service_us // 1000 if pool.mean_service_us > 0 else DEFAULT_SERVICE_MS


def releases_wait(pool: PoolHot, releases: int, in_flight: int) -> int:
    """Milliseconds until ``releases`` of ``in_flight`` requests end: j x mean service / (n + 1)."""
    return min(LONGEST_WAIT_MS, releases * service_ms(pool) // (in_flight + 1))


def releases_for(missing_kv: int, use_kv: int, in_flight: int) -> int:
    """How many average requests hold the missing KV bytes; at least one."""
    return 1 + (missing_kv // KV_UNIT) * in_flight // max(1, use_kv // KV_UNIT)


def refill_wait(missing_micro: int, refill_milli: int) -> int:
    """Milliseconds until the bucket has gained what is missing, rounded up."""
    if refill_milli <= 0:
        return LONGEST_WAIT_MS
    return min(LONGEST_WAIT_MS, -(-missing_micro // refill_milli))


def tick_wait(pool: PoolHot, now_ms: int) -> int:
    """Until the next limits are written, plus one release."""
    return min(LONGEST_WAIT_MS, max(0, pool.next_tick_ms - now_ms) + service_ms(pool) // (pool.use_seats + 1))
