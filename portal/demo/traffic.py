"""The demo tenants' requests through the gateway, for ever: one process, few in flight, patient when nobody answers."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp

from pools.simulator.caller import Answer, Caller, Ending, Retries, open_session
from pools.simulator.prompts import BYTES_PER_TOKEN
from pools.simulator.senders import Order, Sender
from pools.simulator.tally import Tally
from pools.simulator.workload import Habit, demo_orders
from portal.demo import cast
from portal.demo.cast import Cast

log = logging.getLogger(__name__)
IN_FLIGHT, WAITING = 96, 160
CONTEXT_TOKENS = cast.SMALL_REPLICA.context_length
RETRIES = Retries(2, longest_s=20.0)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 15.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Attempts in flight, and orders waiting besides; what finds no place is dropped."""

    in_flight: int = IN_FLIGHT
    waiting: int = WAITING


def roles(senders: Iterable[Sender], world: Cast = cast.DEMO) -> list[tuple[Sender, Habit]]:
    """Each sender of the key file with the habit the cast gives it; senders the cast does not know are silent."""
    habits = {(plan.slug, promise.pool): promise.habit for plan in world.tenants for promise in plan.promises}
    return [(one, habits[one.tenant, one.pool]) for one in senders if (one.tenant, one.pool) in habits]


class Traffic:
    """Sends until :meth:`stop`. ``tally`` counts as a replay does."""

    def __init__(self, url: str, limits: Limits | None = None) -> None:
        self.url = url
        self.limits = limits or Limits()
        self.tally = Tally()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._away = 0

    def stop(self) -> None:
        """Ends at once; answers in flight are cut."""
        self._stop.set()

    async def run(self, parts: list[tuple[Sender, Habit]], *, seed: int | None = None) -> None:
        """Sends every part's orders at their times. While nobody answers it pauses, ever longer."""
        if not parts:
            await self._stop.wait()
            return
        offset = time.monotonic()
        slots = asyncio.Semaphore(self.limits.in_flight)
        async with open_session() as session:
            caller = Caller(session, self.url, slots, RETRIES, BYTES_PER_TOKEN)
            try:
                for order in demo_orders(parts, CONTEXT_TOKENS, seed):
                    await self._sleep(offset + order.at_s - time.monotonic())
                    if self._away:
                        offset += await self._until_back(session)
                    if self._stop.is_set():
                        return
                    self._send(caller, order)
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def _send(self, caller: Caller, order: Order) -> None:
        if len(self._tasks) >= self.limits.in_flight + self.limits.waiting:
            self.tally.skipped += 1
            return
        task = asyncio.create_task(self._call(caller, order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, caller: Caller, order: Order) -> None:
        answer = Answer()
        try:
            await caller.call(order, answer)
            self._away = self._away + 1 if answer.code == "unreachable" else 0
        except asyncio.CancelledError:
            answer.ending = Ending.UNFINISHED
        finally:
            self.tally.add(order, answer)

    async def _until_back(self, session: aiohttp.ClientSession) -> float:
        """Asks ``/readyz`` now and then until somebody answers; the seconds that took."""
        began, pause_s = time.monotonic(), FIRST_PAUSE_S
        log.warning("the gateway at %s does not answer; traffic waits", self.url)
        while not self._stop.is_set():
            try:
                async with session.get(f"{self.url}/readyz") as response:
                    if response.status < 500:
                        break
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await self._sleep(pause_s * random.uniform(0.75, 1.25))
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        self._away = 0
        return time.monotonic() - began

    async def _sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
