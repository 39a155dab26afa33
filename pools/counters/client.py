"""The gateway's door to the counters: asyncio, one connection, every call of a loop tick in one write.

Decisions of one pool asked in the same loop tick travel as ONE function call; the caller notices nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable

from pools.counters.types import Ask, Decision, Heartbeat, HeartbeatReply, Settled, Settlement


class CounterClient:
    """See the module's docstring. Every method raises CounterUnavailable when the store cannot be asked.

    ``url``: ``redis://``, ``rediss://`` or ``unix://`` with password and database as redis-py reads them.
    """

    def __init__(
        self,
        url: str,
        *,
        command_timeout_s: float = 1.0,
        connect_timeout_s: float = 2.0,
        coalesce: bool = True,
        test_clock: bool = False,
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Connect and load the function library; raises CounterUnavailable or DomainError ``library_conflict``."""
        raise NotImplementedError

    async def reserve(self, ask: Ask) -> Decision:
        raise NotImplementedError

    async def settle(self, settlement: Settlement) -> Settled:
        raise NotImplementedError

    async def release(self, pool_id: int, entitlement_id: int, request_id: str) -> Settled:
        """Give a reservation back unused (outcome ``released``, nothing charged)."""
        raise NotImplementedError

    async def heartbeat(self, beat: Heartbeat) -> HeartbeatReply:
        raise NotImplementedError

    async def get_document(self, key: str) -> bytes | None:
        raise NotImplementedError

    async def ping(self) -> None:
        raise NotImplementedError

    def on_eviction(self, pool_id: int, callback: Callable[[int, str], None]) -> None:
        """callback(entitlement_id, request_id) in the loop for every victim announced in the pool."""
        raise NotImplementedError

    def on_release(self, pool_id: int, callback: Callable[[], None]) -> None:
        """callback() when room came free while somebody holds a refused request in the pool."""
        raise NotImplementedError

    def on_revoked(self, callback: Callable[[str], None]) -> None:
        """callback(key digest) for every revoked key."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError
