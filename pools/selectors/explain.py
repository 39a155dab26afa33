"""The inputs of a pool's latest ticks, kept in the hot store so that a weight or a limit can be explained.

Two records a pool: of the latest debt step (every five seconds, always) and of the latest tick (every second while
somebody asks for explanations of the pool).
"""

from __future__ import annotations

from typing import NamedTuple, cast

from pools.mechanism.tick_record import TickRecord, unpack
from portal.lib.hot import hot

KEPT_S = 600
ASKED_KEY = "tp:explain:asked"
"""Sorted set: pool id by the millisecond until which its every tick is to be kept."""


class Records(NamedTuple):
    """``latest`` is the newer of both; ``debt_step`` the one that moved debts. None before the first."""

    latest: TickRecord | None
    debt_step: TickRecord | None


def record_key(pool_id: int, *, debt_step: bool) -> str:
    """Where a pool's record is kept."""
    return f"tp:explain:{pool_id}:{'debt' if debt_step else 'tick'}"


def records_read(pool_id: int) -> Records:
    """Both records of a pool; one of another make counts as none."""
    keys = [record_key(pool_id, debt_step=debt_step) for debt_step in (False, True)]
    tick, debt = (_unpacked(packed) for packed in cast(list[bytes | None], hot().mget(keys)))
    newer = [record for record in (tick, debt) if record is not None]
    return Records(max(newer, key=lambda record: record.at_ms, default=None), debt)


def asked_pools(now_ms: float) -> set[int]:
    """Pools whose every tick is to be kept."""
    return {int(pool_id) for pool_id in cast(list[bytes], hot().zrangebyscore(ASKED_KEY, now_ms, "+inf"))}


def _unpacked(packed: bytes | None) -> TickRecord | None:
    if packed is None:
        return None
    try:
        return unpack(packed)
    except ValueError:
        return None
