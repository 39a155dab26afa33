"""Pools and their endpoints as the control plane published them, refreshed once a second; which endpoint serves next.

The data plane must outlive the control plane: the last good routes stay in use when the store is away or the scraper
stopped. Stale endpoints count as full: they are used only where no fresh one is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

import orjson

from pools.choices import EndpointState
from pools.counters import keys as names
from pools.counters.types import CounterUnavailable

REFRESH_SECONDS = 1.0
DEFAULT_BYTES_PER_TOKEN = 3.6

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Endpoint:
    """One replica: what was scraped, and on top of it what this process has sent since."""

    id: int
    url: str
    slots: int
    kv_bytes: int
    fresh: bool
    running: int
    kv_usage: float
    in_flight: int = 0
    in_flight_when_scraped: int = 0
    kv_in_flight: int = 0
    kv_in_flight_when_scraped: int = 0
    benched_until: float = 0.0

    def free_share(self, cost_kv_bytes: int) -> float:
        """The smaller of the free shares of slots and KV memory once this request is there; below 0 it would wait."""
        load = max(self.in_flight, self.running + self.in_flight - self.in_flight_when_scraped)
        slots = 1 - (load + 1) / max(1, self.slots)
        if self.kv_bytes <= 0:
            return slots
        since = self.kv_in_flight - self.kv_in_flight_when_scraped
        taken = max(self.kv_in_flight, self.kv_usage * self.kv_bytes + since)
        return min(slots, 1 - (taken + cost_kv_bytes) / self.kv_bytes)

    def take(self, kv_bytes: int) -> None:
        """A request goes there."""
        self.in_flight += 1
        self.kv_in_flight += kv_bytes

    def give_back(self, kv_bytes: int) -> None:
        """That request is over."""
        self.in_flight -= 1
        self.kv_in_flight -= kv_bytes


@dataclass(slots=True)
class Route:
    """What the gateway must know of a pool."""

    pool_id: int
    pool: str
    model: str
    upstream_model: str
    context_length: int
    block_tokens: int
    kv_bytes_per_token: int
    weight_input: int
    weight_output: int
    bytes_per_token: float
    lease_ms: int
    capacity_version: int
    mean_service_ms: int
    tokenize: bool
    endpoints: list[Endpoint]
    turn: int = 0

    def pick(self, now: float, cost_kv_bytes: int, tried: Collection[int] = ()) -> Endpoint | None:
        """The endpoint with most free room among the fresh, else among the stale, else among the benched; None when all
        were tried. Equals take turns."""
        count = len(self.endpoints)
        self.turn = (self.turn + 1) % max(1, count)
        best: Endpoint | None = None
        best_score = (-1, 0.0)
        for offset in range(count):
            endpoint = self.endpoints[(self.turn + offset) % count]
            if endpoint.id in tried:
                continue
            trust = 0 if endpoint.benched_until > now else 1 if not endpoint.fresh else 2
            score = (trust, endpoint.free_share(cost_kv_bytes))
            if best is None or score > best_score:
                best, best_score = endpoint, score
        return best


class Routes:
    """The table; ``refresh`` reads it from the store and is called every ``refresh_s`` seconds."""

    def __init__(self, read: Callable[[str], Awaitable[bytes | None]]) -> None:
        self._read = read
        self._by_pool: dict[int, Route] = {}
        self._raw: dict[int, bytes] = {}
        self.loaded = False
        self.reachable = False
        self.refresh_s = REFRESH_SECONDS

    def get(self, pool_id: int) -> Route | None:
        """The route of a pool, None when it is not published."""
        return self._by_pool.get(pool_id)

    def pools(self) -> list[int]:
        """Ids of the published pools."""
        return list(self._by_pool)

    def urls(self) -> set[str]:
        """The addresses of all endpoints."""
        return {endpoint.url for route in self._by_pool.values() for endpoint in route.endpoints}

    async def refresh(self) -> None:
        """Reads every route once; keeps the last good ones where the store is away or a document is broken."""
        try:
            raw = await self._read(names.POOLS_KEY)
            wanted = [int(pool_id) for pool_id in orjson.loads(raw)] if raw else []
            documents = await asyncio.gather(*(self._read(names.route_document(pool_id)) for pool_id in wanted))
        except CounterUnavailable:
            self.reachable = False
            return
        self.reachable = True
        self.loaded = self.loaded or bool(raw)
        for pool_id, document in zip(wanted, documents, strict=True):
            if document is not None and document != self._raw.get(pool_id):
                try:
                    self._by_pool[pool_id] = read_route(document, self._by_pool.get(pool_id))
                    self._raw[pool_id] = document
                except (KeyError, TypeError, ValueError):
                    log.exception("the route of pool %s is broken; the last good one stays", pool_id)
        if raw:
            for gone in set(self._by_pool) - set(wanted):
                del self._by_pool[gone]
                self._raw.pop(gone, None)


def read_route(raw: bytes, before: Route | None) -> Route:
    """Parses a published route; endpoints already known keep what this process counts of them."""
    document: dict[str, Any] = orjson.loads(raw)
    known = {endpoint.id: endpoint for endpoint in before.endpoints} if before is not None else {}
    return Route(
        pool_id=document["pool_id"],
        pool=document["pool"],
        model=document["model"],
        upstream_model=document["upstream_model"],
        context_length=document["context_length"],
        block_tokens=max(1, document["block_tokens"]),
        kv_bytes_per_token=document["kv_bytes_per_token"],
        weight_input=document["weight_input"],
        weight_output=document["weight_output"],
        bytes_per_token=max(0.1, float(document.get("bytes_per_token") or DEFAULT_BYTES_PER_TOKEN)),
        lease_ms=document["lease_ms"],
        capacity_version=document["capacity_version"],
        mean_service_ms=document["mean_service_ms"],
        tokenize=bool(document.get("tokenize")),
        endpoints=[
            _endpoint(entry, known.get(entry["id"]))
            for entry in document["endpoints"]
            if entry["state"] == EndpointState.READY
        ],
    )


def _endpoint(entry: dict[str, Any], before: Endpoint | None) -> Endpoint:
    running = entry["running"] + entry["waiting"]
    if before is None or before.url != entry["url"]:
        before = Endpoint(entry["id"], entry["url"], entry["slots"], entry["kv_bytes"], True, 0, 0.0)
    # The same object lives on, so that requests in flight give back what they took.
    before.slots, before.kv_bytes, before.fresh = entry["slots"], entry["kv_bytes"], bool(entry["fresh"])
    before.running, before.kv_usage = running, float(entry["kv_usage"])
    before.in_flight_when_scraped, before.kv_in_flight_when_scraped = before.in_flight, before.kv_in_flight
    return before
