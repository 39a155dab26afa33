"""Watch a pool for over-commitment: more in use than it has, beyond what the rule lends.

The rule (Token Pools design, I2): use without evictable work stays within capacity, except for idle guaranteed reserve
that was lent (at most the lendable share of it) and just after capacity was lost, until use has come down again.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from pools.choices import EntitlementState, ServiceClass
from pools.counters.types import CounterUnavailable
from pools.mechanism.hot import PoolHot
from pools.models import Entitlement
from pools.services.store import counters

log = logging.getLogger(__name__)
EVERY_S = 0.2


@dataclass(slots=True)
class OverCommit:
    """``worst`` is use beyond capacity at its highest, ``beyond`` what of it no rule allows; sequences and KV bytes."""

    lent_sequences: int = 0
    lent_kv_bytes: int = 0
    worst_sequences: int = 0
    worst_kv_bytes: int = 0
    beyond_sequences: int = 0
    beyond_kv_bytes: int = 0
    looks: int = 0
    peak_use: int = 0
    _capacity: tuple[int, int] = (0, 0)
    _shrinking: bool = False

    def see(self, pool: PoolHot) -> None:
        """One look at the pool's counters."""
        self.looks += 1
        firm = (pool.use_seats - pool.evictable_seats, pool.use_kv - pool.evictable_kv)
        capacity = (pool.capacity_seats, pool.capacity_kv)
        self.peak_use = max(self.peak_use, pool.use_seats)
        lost = capacity[0] < self._capacity[0] or capacity[1] < self._capacity[1]
        self._capacity = capacity
        over = (max(0, firm[0] - capacity[0]), max(0, firm[1] - capacity[1]))
        beyond = (max(0, over[0] - self.lent_sequences), max(0, over[1] - self.lent_kv_bytes))
        self._shrinking = (self._shrinking or lost) and any(beyond)
        self.worst_sequences = max(self.worst_sequences, over[0])
        self.worst_kv_bytes = max(self.worst_kv_bytes, over[1])
        if not self._shrinking:
            self.beyond_sequences = max(self.beyond_sequences, beyond[0])
            self.beyond_kv_bytes = max(self.beyond_kv_bytes, beyond[1])

    def summary(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "sequences": self.beyond_sequences,
            "kv_bytes": self.beyond_kv_bytes,
            "worst_sequences": self.worst_sequences,
            "worst_kv_bytes": self.worst_kv_bytes,
            "lent_sequences": self.lent_sequences,
            "peak_use": self.peak_use,
            "looks": self.looks,
        }


def over_commit_of(pool_id: int) -> OverCommit:
    """A watch with what the pool's guaranteed entitlements may lend."""
    rows = Entitlement.objects.filter(
        pool_id=pool_id,
        tier__service_class=ServiceClass.GUARANTEED.value,
        state=EntitlementState.BOUND.value,
        tier__current__isnull=False,
    ).values_list("tier__current__lendable_share", "base_concurrency", "base_kv_bytes")
    return OverCommit(
        lent_sequences=int(sum(share * sequences for share, sequences, _ in rows)),
        lent_kv_bytes=int(sum(share * kv_bytes for share, _, kv_bytes in rows)),
    )


class Watch:
    """Looks at a pool several times a second from a thread, inside ``with``."""

    def __init__(self, pool_id: int) -> None:
        self.pool_id = pool_id
        self.seen = over_commit_of(pool_id)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="over-commit watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self.seen.see(counters().snapshot(self.pool_id, []).pool)
            except CounterUnavailable as error:
                log.debug("the counters cannot be watched: %s", error)
