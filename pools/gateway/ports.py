"""What the gateway needs of the counter store: the shape of CounterClient, and nothing more of it."""

from __future__ import annotations

from typing import Protocol

from pools.counters.types import Ask, Decision, Heartbeat, HeartbeatReply, Settled, Settlement


class Counters(Protocol):
    """Every call may raise CounterUnavailable."""

    async def reserve(self, ask: Ask) -> Decision: ...

    async def settle(self, settlement: Settlement) -> Settled: ...

    async def heartbeat(self, beat: Heartbeat) -> HeartbeatReply: ...

    async def get_document(self, key: str) -> bytes | None: ...
