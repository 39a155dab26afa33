"""A simulated endpoint on a real socket, in this process (``endpoint``) or as one of its own (``launch``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
from aiohttp import web

from pools.simulator.profile import EngineProfile, StepCosts
from pools.simulator.server import Served, Server

FAST = EngineProfile(max_num_seqs=4, num_gpu_blocks=256, context_tokens=1024, costs=StepCosts(0.002, 0.0, 100_000.0))


@dataclass(frozen=True, slots=True)
class Running:
    """A server that serves, and where."""

    server: Server
    url: str


Serve = Callable[..., Awaitable[Running]]


@asynccontextmanager
async def _serving(profile: EngineProfile, served: Served) -> AsyncIterator[Running]:
    server = Server(profile, served)
    server.ready = True
    runner = web.AppRunner(server.app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    engine = asyncio.create_task(server.driver.run())
    try:
        yield Running(server, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        engine.cancel()
        with suppress(asyncio.CancelledError):
            await engine
        await runner.cleanup()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(profile=…, served=…)`` starts an endpoint that ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(profile: EngineProfile = FAST, served: Served | None = None) -> Running:
            served = served or Served(models=("chat-8b",))
            return await stack.enter_async_context(_serving(profile, served))

        yield start


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until it holds; fails the test when it does not."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
