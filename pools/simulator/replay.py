"""Send orders at their times, with a bounded number in flight, and count what came of them.

The sender is open-loop: a slow gateway does not slow the trace down. What may wait is bounded too (in flight, waiting
for a slot, or waiting to try again); an order that finds no place is not sent and is counted as skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pools.simulator.caller import Answer, Caller, Ending, Retries, open_session
from pools.simulator.prompts import BYTES_PER_TOKEN
from pools.simulator.senders import Order
from pools.simulator.tally import Tally

RETRIES = Retries()


@dataclass(frozen=True, slots=True)
class Pace:
    """How orders are sent: seconds of wall clock in all, trace seconds per second, attempts in flight, orders waiting.

    ``drain_s`` is how long the last answers are waited for.
    """

    seconds: float
    speed: float = 1.0
    concurrency: int = 128
    waiting: int = 2048
    drain_s: float = 60.0
    retries: Retries = RETRIES
    bytes_per_token: float = BYTES_PER_TOKEN


class Replay:
    """One run against one gateway. ``tally`` may be read at any time; ``stop`` ends it early."""

    def __init__(self, url: str, pace: Pace) -> None:
        self.url = url
        self.pace = pace
        self.tally = Tally()
        self.elapsed_s = 0.0
        self.in_flight: dict[asyncio.Task[None], None] = {}
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Send nothing more and cut what is in flight."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether somebody asked for the end."""
        return self._stop.is_set()

    async def run(self, orders: Iterable[Order], on_step: Callable[[float], None] | None = None) -> Tally:
        """Sends until orders or time are over and waits for the last answers. ``on_step`` gets the seconds passed."""
        started = time.monotonic()
        slots = asyncio.Semaphore(self.pace.concurrency)
        async with open_session() as session:
            caller = Caller(session, self.url, slots, self.pace.retries, self.pace.bytes_per_token)
            ticker = asyncio.create_task(self._tick(started, on_step))
            try:
                async for order, late_s in self._due(orders, started):
                    self._send(caller, order, late_s)
                self.elapsed_s = time.monotonic() - started
                await self._drain()
            finally:
                ticker.cancel()
                self._cut()
                await asyncio.gather(*self.in_flight, ticker, return_exceptions=True)
        self.elapsed_s = max(self.elapsed_s, time.monotonic() - started)
        return self.tally

    async def _due(self, orders: Iterable[Order], started: float) -> AsyncIterator[tuple[Order, float]]:
        for order in orders:
            at = order.at_s / self.pace.speed
            if at >= self.pace.seconds:
                return
            wait_s = started + at - time.monotonic()
            await (self._sleep(wait_s) if wait_s > 0 else asyncio.sleep(0))
            if self.stopped:
                return
            yield order, max(0.0, -wait_s)

    def _send(self, caller: Caller, order: Order, late_s: float) -> None:
        if len(self.in_flight) >= self.pace.waiting + self.pace.concurrency:
            self.tally.skipped += 1
            return
        self.tally.late.add((late_s,))
        task = asyncio.create_task(self._call(caller, order))
        self.in_flight[task] = None
        task.add_done_callback(lambda done: self.in_flight.pop(done, None))

    async def _call(self, caller: Caller, order: Order) -> None:
        answer = Answer()
        try:
            await caller.call(order, answer)
        except asyncio.CancelledError:
            answer.ending, answer.code = Ending.UNFINISHED, ""
        finally:
            self.tally.add(order, answer)

    async def _drain(self) -> None:
        if self.stopped or not self.in_flight:
            return
        stop: asyncio.Task[Any] = asyncio.create_task(self._stop.wait())
        rest: asyncio.Task[Any] = asyncio.create_task(asyncio.wait(list(self.in_flight)))
        await asyncio.wait({stop, rest}, timeout=self.pace.drain_s, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        rest.cancel()

    def _cut(self) -> None:
        for task in self.in_flight:
            task.cancel()

    async def _sleep(self, seconds: float) -> None:
        """Shorter when the run is stopped meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _tick(self, started: float, on_step: Callable[[float], None] | None) -> None:
        while on_step is not None:
            on_step(time.monotonic() - started)
            await asyncio.sleep(0.25)
