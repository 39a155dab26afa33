"""The requests this process serves now: how each can be ended from outside, and the heartbeats that keep its lease."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pools.choices import Outcome
from pools.counters.types import OUTCOMES, SOURCES, CounterUnavailable, Heartbeat, Settlement
from pools.gateway.estimate import Size
from pools.gateway.exchange import Exchange, UpstreamError
from pools.gateway.keys import Grant
from pools.gateway.parse import InferenceRequest, Kind
from pools.gateway.ports import Counters
from pools.gateway.routes import Route

LARGEST_CHARGE = 2**31 - 1  # what the store counts per request; an engine that claims more is not believed
STALLED_SECONDS = 60.0  # a client that reads nothing for so long has gone


@dataclass(slots=True, eq=False)
class LiveRequest:
    """One admitted request from its reservation to its settlement. Times are of the event loop's clock, in seconds.

    ``ending``: why it ends before its time, once that is known. ``reserved`` False: nothing is held in the store.
    """

    request_id: str
    key_id: int
    grant: Grant
    route: Route
    request: InferenceRequest
    size: Size
    started: float
    reserved: bool = True
    task: asyncio.Task[Any] | None = field(default_factory=asyncio.current_task)
    exchange: Exchange | None = None
    ending: Outcome | None = None
    sending_since: float = 0.0
    forwarded: bool = False
    streamed_tokens: int = 0
    usage: dict[str, Any] | None = None
    first_token_at: float = 0.0
    endpoint_id: int = 0
    leased_at: float = 0.0
    settled: bool = False

    def attach(self, exchange: Exchange) -> None:
        """Notes the connection that serves the request, and ends it when the request was cut before it was there."""
        self.exchange = exchange
        if self.ending is not None:
            raise UpstreamError("cut", "the request was ended before it was forwarded")

    def cut(self, why: Outcome) -> None:
        """Ends the request now, wherever it waits: on the endpoint, or on a client that does not read."""
        if self.ending is not None or self.settled:
            return
        self.ending = why
        if self.exchange is not None:
            self.exchange.cut()
        if self.sending_since and self.task is not None:
            self.task.cancel()

    def charge(self, *, whole: bool = False) -> tuple[int, str, int, int, int]:
        """(charged tokens, source, input, output, cached). ``whole``: the endpoint finished its answer.

        The engine's usage where it came, else counted events, else the reservation; a request that never ran is free.
        """
        if self.usage is not None:
            details = self.usage.get("prompt_tokens_details")
            taken = _count(self.usage, "prompt_tokens")
            output = _count(self.usage, "completion_tokens")
            cached = min(taken, _count(details, "cached_tokens")) if isinstance(details, dict) else 0
            source = "engine"
        else:
            taken, output, cached, source = self.size.input_tokens, self.streamed_tokens, 0, "counted"
            if whole and not output and self.request.kind is not Kind.EMBEDDING:
                return -1, "reserved", taken, 0, 0
            if not whole and not output and not (self.forwarded and self.ending is Outcome.CLIENT_GONE):
                return 0, source, 0, 0, 0
        return (
            min(LARGEST_CHARGE, self.route.weight_input * (taken - cached) + self.route.weight_output * output),
            source,
            taken,
            output,
            cached,
        )

    def settlement(self, outcome: Outcome, now: float) -> Settlement:
        """What the store is told at the end."""
        charged, source, taken, output, cached = self.charge(whole=outcome is Outcome.COMPLETED)
        return Settlement(
            pool_id=self.grant.pool_id,
            entitlement_id=self.grant.entitlement_id,
            request_id=self.request_id,
            actual_tokens=charged,
            outcome=OUTCOMES.index(outcome),
            source=SOURCES.index(source),
            input_tokens=taken,
            output_tokens=output,
            cached_tokens=cached,
            prompt_bytes=self.size.learn_bytes if source == "engine" else 0,
            ttft_ms=round((self.first_token_at - self.started) * 1000) if self.first_token_at else 0,
            duration_ms=round((now - self.started) * 1000),
            endpoint_id=self.endpoint_id,
        )


def _count(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name)
    return min(value, LARGEST_CHARGE) if type(value) is int and value >= 0 else 0


class Live:
    """All of them, found by entitlement and request id."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._running: dict[tuple[int, str], LiveRequest] = {}
        self.lost_leases = 0

    def __len__(self) -> int:
        return len(self._running)

    @contextlib.contextmanager
    def track(self, live: LiveRequest) -> Iterator[LiveRequest]:
        """Keeps a request in the table while the block runs."""
        name = (live.grant.entitlement_id, live.request_id)
        self._running[name] = live
        try:
            yield live
        finally:
            del self._running[name]

    def evict(self, entitlement_id: int, request_id: str) -> None:
        """Ends a preemptible request the store chose as a victim; unknown ones run in another gateway."""
        live = self._running.get((entitlement_id, request_id))
        if live is not None:
            live.cut(Outcome.PREEMPTED)

    def cut_all(self, why: Outcome) -> None:
        """Ends everything: the drain's time is up."""
        for live in list(self._running.values()):
            live.cut(why)

    async def run(self, every_s: float = 1.0) -> None:
        """Renews leases at a third of their length and ends requests whose client stopped reading, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(every_s)
            now = loop.time()
            due: list[LiveRequest] = []
            for live in list(self._running.values()):
                if live.sending_since and now - live.sending_since > STALLED_SECONDS:
                    live.cut(Outcome.CLIENT_GONE)
                elif live.reserved and now - (live.leased_at or live.started) > live.route.lease_ms / 3000:
                    due.append(live)
            await asyncio.gather(*(self._beat(live, now) for live in due))

    async def _beat(self, live: LiveRequest, now: float) -> None:
        beat = Heartbeat(
            pool_id=live.grant.pool_id,
            entitlement_id=live.grant.entitlement_id,
            request_id=live.request_id,
            lease_ms=live.route.lease_ms,
            streamed_tokens=live.charge()[0],
        )
        try:
            reply = await self._counters.heartbeat(beat)
        except CounterUnavailable:
            return  # asked again in a second; the lease has two thirds left
        live.leased_at = now
        if reply.evicted:
            live.cut(Outcome.PREEMPTED)
        elif not reply.alive and not live.settled:
            self.lost_leases += 1
            live.reserved = False
