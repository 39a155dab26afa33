"""Settles in every ending. A settlement is never dropped while this process lives: what the store did not take is
tried again, which is safe because a repeated settlement counts once. After a crash the lease's expiry does the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from pools.counters.types import CounterUnavailable, Settled, Settlement
from pools.gateway.ports import Counters

RETRY_SECONDS = 0.25
MAX_WAITING = 100_000  # beyond it the oldest is left to the reaper

log = logging.getLogger(__name__)


class Settler:
    """``waiting`` are settlements the store has not confirmed."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.waiting: deque[Settlement] = deque(maxlen=MAX_WAITING)
        self.unknown = 0

    async def settle(self, settlement: Settlement) -> Settled | None:
        """Settles now, or later when the store is away (None). Safe under cancellation."""
        try:
            settled = await self._counters.settle(settlement)
        except CounterUnavailable:
            self.waiting.append(settlement)
            return None
        except asyncio.CancelledError:
            self.waiting.append(settlement)
            raise
        if settled.status == 0:
            self.unknown += 1
        return settled

    async def run(self) -> None:
        """Tries again what is waiting, for ever."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            await self.flush()

    async def flush(self) -> bool:
        """Tries everything that is waiting once, oldest first; True when nothing is left."""
        while self.waiting:
            try:
                await self._counters.settle(self.waiting[0])
            except CounterUnavailable:
                return False
            self.waiting.popleft()
        return True

    async def drain(self, within_s: float) -> None:
        """Before the process ends: keeps trying for ``within_s`` seconds."""
        try:
            async with asyncio.timeout(within_s):
                while not await self.flush():  # noqa: ASYNC110  (nothing tells when a store is back)
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            log.warning("%s settlements are left to the reaper: the store does not answer", len(self.waiting))
