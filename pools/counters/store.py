"""The control plane's door to the counters: synchronous, on redis-py, for services and Celery."""

from __future__ import annotations

from collections.abc import Sequence

from pools.counters.snapshot import PoolCounters
from pools.counters.types import (
    Ask,
    Decision,
    EntitlementCounterConfig,
    LiveReservation,
    PoolCounterConfig,
    Settled,
    Settlement,
    TickWrite,
    UsageEvent,
)


class CounterStore:
    """Every method raises CounterUnavailable when the store cannot be asked."""

    def __init__(self, url: str, *, timeout_s: float = 5.0, test_clock: bool = False) -> None:
        raise NotImplementedError

    def configure_pool(self, config: PoolCounterConfig) -> None:
        """Create the pool or replace its capacity record; use, holds and sums stay. Evicts preemptible work above it."""
        raise NotImplementedError

    def configure_entitlements(self, pool_id: int, configs: Sequence[EntitlementCounterConfig]) -> None:
        raise NotImplementedError

    def remove_entitlement(self, pool_id: int, entitlement_id: int) -> None:
        """Refuse it from now on; its live reservations still settle."""
        raise NotImplementedError

    def snapshot(self, pool_id: int, entitlement_ids: Sequence[int] | None = None) -> PoolCounters:
        """Counters of the pool and of the given (default: all configured) entitlements, as numpy arrays."""
        raise NotImplementedError

    def write_tick(self, pool_id: int, tick: TickWrite) -> None:
        raise NotImplementedError

    def reap(self, pool_id: int, max_count: int = 1000) -> int:
        """Close reservations whose lease ran out; returns how many were expired."""
        raise NotImplementedError

    def read_usage(self, pool_id: int, consumer: str, count: int = 1000) -> list[UsageEvent]:
        """Events nobody has acknowledged yet: first those this consumer took before, then new ones."""
        raise NotImplementedError

    def ack_usage(self, pool_id: int, stream_ids: Sequence[str]) -> int:
        """Acknowledge and delete stored events."""
        raise NotImplementedError

    def usage_backlog(self, pool_id: int) -> int:
        raise NotImplementedError

    def live_reservations(self, pool_id: int) -> list[LiveReservation]:
        raise NotImplementedError

    def reserve(self, ask: Ask) -> Decision:
        raise NotImplementedError

    def settle(self, settlement: Settlement) -> Settled:
        raise NotImplementedError

    def put_document(self, key: str, document: bytes) -> None:
        raise NotImplementedError

    def delete_document(self, key: str) -> None:
        raise NotImplementedError

    def publish(self, channel: str, message: str) -> None:
        raise NotImplementedError

    def server_now_ms(self) -> int:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
