"""Run an engine in real time on an asyncio loop, one wake-up per step however many sequences run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from pools.simulator.engine import Engine, StepResult
from pools.simulator.profile import EngineProfile
from pools.simulator.sequence import Phase, Sequence

LONGEST_LAG_S = 0.25


class Ticket:
    """A submitted sequence and a way to wait for its next tokens."""

    __slots__ = ("_waiter", "sequence")

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence
        self._waiter: asyncio.Future[None] | None = None

    async def more(self, seen: int) -> int:
        """Wait until more than ``seen`` tokens exist or it ended; returns the tokens that exist."""
        while self.sequence.generated <= seen and self.sequence.phase is not Phase.FINISHED:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.sequence.generated

    def wake(self) -> None:
        """Let the waiting reader look again."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Driver:
    """Owns the engine. ``after_step`` hears of every step; ``stalled`` stops all progress (for tests)."""

    def __init__(self, profile: EngineProfile, after_step: Callable[[StepResult], None] | None = None) -> None:
        self.engine = Engine(profile)
        self.stalled = False
        self._after_step = after_step
        self._tickets: dict[Hashable, Ticket] = {}
        self._wake = asyncio.Event()

    def submit(self, sequence: Sequence) -> Ticket:
        """Queue a sequence now. ValueError when it can never fit."""
        self.engine.submit(sequence, asyncio.get_running_loop().time())
        ticket = self._tickets[sequence.name] = Ticket(sequence)
        self._wake.set()
        return ticket

    def abort(self, ticket: Ticket) -> None:
        """End it at once if it still goes on; its blocks are free when this returns."""
        self._tickets.pop(ticket.sequence.name, None)
        if ticket.sequence.phase is not Phase.FINISHED:
            self.engine.abort(ticket.sequence.name, asyncio.get_running_loop().time())
            ticket.wake()

    async def run(self) -> None:
        """Step for ever; cancel to end."""
        loop = asyncio.get_running_loop()
        ready_at = loop.time()
        while True:
            step = None if self.stalled else self.engine.begin(max(ready_at, loop.time() - LONGEST_LAG_S))
            if step is None:
                self._wake.clear()
                await self._wake.wait()
                ready_at = loop.time()
                continue
            await asyncio.sleep(step.ends_at - loop.time())
            ready_at = step.ends_at
            result = self.engine.finish(step.ends_at)
            for sequence in result.emitted:
                if ticket := self._tickets.get(sequence.name):
                    ticket.wake()
            for sequence in result.finished:
                self._tickets.pop(sequence.name, None)
            if self._after_step is not None:
                self._after_step(result)
