"""Holding: a request refused for want of room waits a moment for a release instead of failing.

At each release the waiting requests of the pool are tried in the order (rank, −weight / max(1, sequences in use), age).
Source: Token Pools design, section 4.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass

from pools.choices import CLASS_RULES, Outcome
from pools.counters.types import OUTCOMES, Ask, CounterUnavailable, Decision, Settlement
from pools.gateway.keys import Grant
from pools.gateway.ports import Counters
from pools.gateway.settling import Settler

MAX_HELD_PER_POOL = 256
MAX_MISSES_PER_RELEASE = 3


@dataclass(slots=True, eq=False)
class Held:
    """One waiting request. ``trying`` while its reserve is under way; ``late`` when its time ended during that;
    ``left`` when nobody waits for it any more."""

    ask: Ask
    rank: int
    weight: float
    use: int
    age: int
    until: float
    answer: asyncio.Future[Decision]
    trying: bool = False
    late: bool = False
    left: bool = False

    def order(self) -> tuple[int, float, int]:
        return (self.rank, -self.weight / max(1, self.use), self.age)

    def overtakes(self, missed: Held) -> bool:
        """Whether this one, asking no less of the same entitlement, would only slip past one just refused."""
        mine, other = self.ask, missed.ask
        return (
            mine.entitlement_id == other.entitlement_id
            and mine.kv_bytes >= other.kv_bytes
            and mine.concurrency >= other.concurrency
        )


class Holds:
    """The waiting rooms, one per pool; ``released`` is called for each message on the pool's release channel."""

    def __init__(self, counters: Counters, settler: Settler) -> None:
        self._counters = counters
        self._settler = settler
        self._held: dict[int, set[Held]] = {}
        self._rounds: dict[int, asyncio.Task[None]] = {}
        self._again: set[int] = set()
        self._ages = itertools.count()

    def __len__(self) -> int:
        return sum(len(held) for held in self._held.values())

    async def wait(self, ask: Ask, grant: Grant, first: Decision) -> Decision:
        """The decision after holding for at most ``ask.hold_ms``; the last try counts the refusal."""
        loop = asyncio.get_running_loop()
        waiting = self._held.setdefault(ask.pool_id, set())
        if len(waiting) < MAX_HELD_PER_POOL:
            rule = CLASS_RULES[grant.service_class]
            until = loop.time() + ask.hold_ms / 1000
            use = first.use_concurrency
            held = Held(ask, rule.rank, rule.class_weight, use, next(self._ages), until, loop.create_future())
            waiting.add(held)
            try:
                await asyncio.wait({held.answer}, timeout=ask.hold_ms / 1000)
                held.late = True
                if held.trying or held.answer.done():
                    decision = await held.answer
                    if decision.admitted or not decision.held:
                        return decision
            finally:
                held.left = True
                waiting.discard(held)
        return await self._counters.reserve(ask._replace(hold_ms=0))

    def released(self, pool_id: int) -> None:
        """Room came free: try those who wait."""
        if not self._held.get(pool_id):
            return
        if pool_id in self._rounds:
            self._again.add(pool_id)
            return
        self._rounds[pool_id] = asyncio.ensure_future(self._round(pool_id))

    async def _round(self, pool_id: int) -> None:
        try:
            while True:
                self._again.discard(pool_id)
                missed: list[Held] = []
                for held in sorted(self._held[pool_id], key=Held.order):
                    if held.left or held.answer.done() or any(held.overtakes(other) for other in missed):
                        continue
                    if not await self._try(held):
                        missed.append(held)
                        if len(missed) == MAX_MISSES_PER_RELEASE:
                            break
                if pool_id not in self._again:
                    return
        finally:
            del self._rounds[pool_id]

    async def _try(self, held: Held) -> bool:
        """Reserves for one waiting request; True when it need not wait any longer."""
        left_ms = max(1, round((held.until - asyncio.get_running_loop().time()) * 1000))
        held.trying = True
        try:
            decision = await self._counters.reserve(held.ask._replace(hold_ms=left_ms))
        except CounterUnavailable as error:
            if not held.left:
                held.answer.set_exception(error)
            return True
        finally:
            held.trying = False
        if held.left:
            if decision.admitted:  # for somebody who left meanwhile
                await self._settler.settle(release(held.ask))
            return True
        if decision.admitted or not decision.held or held.late:
            held.answer.set_result(decision)
            return decision.admitted or not decision.held
        held.use = decision.use_concurrency
        return False


def release(ask: Ask) -> Settlement:
    """The settlement of a reservation that was not used."""
    return Settlement(
        ask.pool_id, ask.entitlement_id, ask.request_id, actual_tokens=0, outcome=OUTCOMES.index(Outcome.RELEASED)
    )
