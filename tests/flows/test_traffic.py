"""The demo's traffic: it comes from everybody, waits while nobody answers, and ends at once when told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from pools.simulator.senders import Sender
from pools.simulator.workload import Habit, Lengths
from portal.demo import traffic as module
from portal.demo.traffic import Limits, Traffic

BUSY = Habit(20.0, Lengths(40, 0.5, 100), Lengths(8, 0.5, 20), stream=0.0)
PARTS = [
    (Sender("key-acme", "acme", "elastic", "chat", "m"), BUSY),
    (Sender("key-birch", "birch", "spot", "chat", "m"), BUSY),
]


class Gateway:
    """Answers everybody at once and counts the keys; ``heard`` is set after 20 requests."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.heard = asyncio.Event()
        self.now = self.most = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        body = await request.json()
        await asyncio.sleep(0.01)
        self.seen[request.headers["authorization"].removeprefix("Bearer ")] += 1
        if self.seen.total() >= 20:
            self.heard.set()
        self.now -= 1
        usage = {"prompt_tokens": 9, "completion_tokens": body["simulated_output_tokens"]}
        return web.json_response({"choices": [], "usage": usage})

    async def ready(self, _request: web.Request) -> web.Response:
        return web.Response()


@asynccontextmanager
async def listening(gateway: Gateway, port: int) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", gateway.answer)
    app.router.add_get("/readyz", gateway.ready)
    server = TestServer(app, port=port)
    await server.start_server()
    try:
        yield
    finally:
        await server.close()


async def test_everybody_asks_within_the_limit_and_a_stop_is_a_stop() -> None:
    gateway, port = Gateway(), unused_port()
    sender = Traffic(f"http://127.0.0.1:{port}", Limits(in_flight=3, waiting=5))
    async with listening(gateway, port):
        run = asyncio.create_task(sender.run(PARTS, seed=1))
        await asyncio.wait_for(gateway.heard.wait(), 10)
        sender.stop()
        await asyncio.wait_for(run, 1)
    assert set(gateway.seen) == {"key-acme", "key-birch"}
    assert gateway.most <= 3
    assert set(sender.tally.by_class) == {"elastic", "spot"}
    assert sender.tally.all.endings["completed"] >= 15


async def test_it_waits_for_an_absent_gateway_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(module, "RETRIES", module.Retries(0))
    gateway, port = Gateway(), unused_port()
    sender = Traffic(f"http://127.0.0.1:{port}")
    run = asyncio.create_task(sender.run(PARTS, seed=1))
    while not sender.tally.all.failed["unreachable"]:  # noqa: ASYNC110 - the tally tells nobody
        await asyncio.sleep(0.01)
    async with listening(gateway, port):
        await asyncio.wait_for(gateway.heard.wait(), 10)
        sender.stop()
        await asyncio.wait_for(run, 1)
    assert sender.tally.all.failed["unreachable"] < 40


async def test_without_a_demo_it_is_silent_until_told_to_end() -> None:
    sender = Traffic("http://127.0.0.1:1")
    run = asyncio.create_task(sender.run([]))
    await asyncio.sleep(0)
    assert not run.done()
    sender.stop()
    await asyncio.wait_for(run, 1)
    assert sender.tally.all.sent == 0
