"""Holding: a refused request waits a moment for room, and the better placed goes first."""

from __future__ import annotations

import asyncio
import time

from pools.choices import ServiceClass
from pools.mechanism.amounts import Rate
from tests.gateway.conftest import CHAT, Running, Start
from tests.gateway.endpoint import Endpoint
from tests.gateway.test_bad_input import shaped
from tests.gateway.test_endings import ended
from tests.gateway.world import Key, World, until

HOLD_MS = 3000


async def ask(gateway: Running, key: Key, text: str) -> int:
    async with gateway.post(key, {**CHAT, "messages": [{"role": "user", "content": text}]}) as answer:
        return int(answer.status)


async def full_pool(world: World, endpoint: Endpoint, start: Start) -> tuple[Running, asyncio.Task[int]]:
    """A pool of one sequence, and the request that has it."""
    world.capacity = Rate(10_000, 16 * 8192 * 1024, 1)
    world.pool(endpoint.url)
    gateway = await start()
    endpoint.behaviours.append("held")
    owner = world.entitle(ServiceClass.SPOT)
    first = asyncio.create_task(ask(gateway, owner, "first"))
    await endpoint.arrived.wait()
    return gateway, first


async def test_the_higher_rank_goes_first_then_the_older(world: World, endpoint: Endpoint, start: Start) -> None:
    gateway, first = await full_pool(world, endpoint, start)
    spot = world.entitle(ServiceClass.SPOT, hold_ms=HOLD_MS)
    elastic = world.entitle(ServiceClass.ELASTIC, hold_ms=HOLD_MS)
    waiting = []
    for key, text in ((spot, "spot older"), (spot, "spot younger"), (elastic, "elastic")):
        waiting.append(asyncio.create_task(ask(gateway, key, text)))
        await until(lambda: len(gateway.gateway.holds) == len(waiting))
    endpoint.free.set()
    assert await asyncio.gather(first, *waiting) == [200] * 4
    texts = [seen["messages"][0]["content"] for seen in endpoint.seen]
    assert texts == ["first", "elastic", "spot older", "spot younger"]
    await ended(world, 4)


async def test_the_hold_ends_in_a_refusal_that_counts_once(world: World, endpoint: Endpoint, start: Start) -> None:
    gateway, first = await full_pool(world, endpoint, start)
    key = world.entitle(ServiceClass.ELASTIC, hold_ms=150)
    began = time.monotonic()
    async with gateway.post(key) as answer:
        assert (answer.status, shaped(await answer.json())["code"]) == (429, "pool_full")
    assert 0.15 <= time.monotonic() - began < 1.0
    assert len(gateway.gateway.holds) == 0
    counters = world.store.snapshot(1, [key.entitlement])
    assert counters.refused.sum() == 1
    endpoint.free.set()
    assert await first == 200
    await ended(world)


async def test_a_client_that_leaves_while_it_is_held(world: World, endpoint: Endpoint, start: Start) -> None:
    gateway, first = await full_pool(world, endpoint, start)
    key = world.entitle(ServiceClass.ELASTIC, hold_ms=300)
    request = asyncio.create_task(ask(gateway, key, "gone"))
    await until(lambda: len(gateway.gateway.holds))
    request.cancel()
    endpoint.free.set()
    assert await first == 200
    await until(lambda: len(gateway.gateway.holds) == 0 and len(gateway.gateway.live) == 0)
    await until(lambda: world.live() == 0)
