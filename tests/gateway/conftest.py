"""A gateway on a real socket before a real store and endpoints of the tests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import redis
import uvicorn

from pools.counters.client import CounterClient
from pools.counters.store import CounterStore
from pools.gateway.app import App
from pools.gateway.config import GatewayConfig
from pools.gateway.gateway import Gateway
from pools.gateway.server import GuardedProtocol, server_config
from pools.gateway.upstream import Timeouts
from tests.gateway.endpoint import Endpoint
from tests.gateway.world import SECRET, World

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Hello, who are you?"}], "max_tokens": 32}


@pytest.fixture
def world(valkey: redis.Redis, redis_url: str) -> Iterator[World]:
    store = CounterStore(redis_url)
    yield World(redis_url, store, valkey)
    store.close()


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    started = await Endpoint().start()
    yield started
    await started.stop()


@pytest.fixture
async def second_endpoint() -> AsyncIterator[Endpoint]:
    started = await Endpoint().start()
    yield started
    await started.stop()


@dataclass
class Running:
    """A gateway under test."""

    url: str
    port: int
    app: App
    server: uvicorn.Server
    http: aiohttp.ClientSession

    @property
    def gateway(self) -> Gateway:
        assert self.app.gateway is not None
        return self.app.gateway

    def post(self, key: Any = None, body: Any = None, path: str = "/v1/chat/completions", **more: Any) -> Any:
        headers = {**(key.headers if key else {}), **more.pop("headers", {})}
        if "data" not in more:
            more["json"] = CHAT if body is None else body
        return self.http.post(self.url + path, headers=headers, **more)

    def get(self, path: str, key: Any = None) -> Any:
        return self.http.get(self.url + path, headers=key.headers if key else {})


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Starts gateways; they are stopped after the test."""
    stops: list[Callable[[], Awaitable[None]]] = []

    async def go(header_timeout_s: float = 10.0, command_timeout_s: float = 1.0, **settings: Any) -> Running:
        monkeypatch.setattr(GuardedProtocol, "header_timeout_s", header_timeout_s)
        config = GatewayConfig(
            **{"redis_url": world.url, "secret_key": SECRET, "log_level": "WARNING", "drain_s": 1.0, **settings}
        )
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        app = App(config, lambda c: CounterClient(c.redis_url, command_timeout_s=command_timeout_s))
        server = uvicorn.Server(server_config(app, config))
        serving = asyncio.create_task(server._serve([listener]))
        while not server.started:
            assert not serving.done(), serving
            await asyncio.sleep(0.005)
        if app._counters is not None and app.gateway is not None and app.gateway.routes.loaded:
            await app._counters.listening()
        http = aiohttp.ClientSession()

        async def stop() -> None:
            await http.close()
            server.should_exit = True
            await serving

        stops.append(stop)
        return Running(f"http://127.0.0.1:{port}", port, app, server, http)

    yield go
    for stop in stops:
        await stop()


@pytest.fixture
async def gateway(world: World, endpoint: Endpoint, start: Start) -> Running:
    """One gateway before one well-behaved endpoint."""
    world.pool(endpoint.url)
    return await start(timeouts=Timeouts(connect_s=1.0, first_byte_s=5.0, idle_s=5.0))
