"""The counter store goes away: the tier's fail mode decides, nothing is lost, and all is well when it is back."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from pools.choices import Outcome
from pools.counters.store import CounterStore
from portal.embedded.valkey import find_binary
from tests.gateway.conftest import Running, Start
from tests.gateway.endpoint import Endpoint
from tests.gateway.test_bad_input import shaped
from tests.gateway.test_endings import STREAM, ended
from tests.gateway.world import World, until


class OwnStore:
    """A Valkey of this test, which it may stop; it remembers through its append-only file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        line = [
            find_binary(),
            "--port",
            self.port,
            "--dir",
            self.folder,
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ]
        self.process = subprocess.Popen([str(word) for word in line], stdout=subprocess.DEVNULL)
        client = redis.Redis.from_url(self.url)
        for _ in range(500):
            try:
                client.ping()
                return
            except redis.ConnectionError:
                time.sleep(0.01)  # a child that is starting announces nothing we could wait for
        raise AssertionError("the store did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnStore]:
    store = OwnStore(tmp_path)
    store.start()
    yield store
    store.kill()


@pytest.fixture
def world(own: OwnStore) -> Iterator[World]:
    store = CounterStore(own.url)
    yield World(own.url, store, redis.Redis.from_url(own.url))
    store.close()


async def ready(gateway: Running) -> bool:
    async with gateway.get("/readyz") as answer:
        document = json.loads(await answer.read())
        assert document["ready"] == (answer.status == 200)
        return bool(document["ready"])


async def test_open_serves_and_closed_refuses_while_the_store_is_away(
    own: OwnStore, world: World, endpoint: Endpoint, start: Start
) -> None:
    world.pool(endpoint.url)
    gateway = await start(command_timeout_s=0.2)
    trusting, strict = world.entitle(fail_mode="open"), world.entitle(fail_mode="closed")
    never_seen = world.entitle(fail_mode="open")
    for key in (trusting, strict):
        async with gateway.post(key) as answer:
            assert answer.status == 200 and "x-token-pools-admission" not in answer.headers
    assert await ready(gateway)
    own.kill()
    async with gateway.post(trusting) as answer:
        assert answer.status == 200 and answer.headers["x-token-pools-admission"] == "degraded"
    for key in (strict, never_seen):
        async with gateway.post(key) as answer:
            assert (answer.status, shaped(await answer.json())["code"]) == (503, "store_unavailable")
            assert answer.headers["retry-after"] and answer.headers["x-should-retry"] == "true"
    await until(lambda: not gateway.gateway.routes.reachable)
    assert not await ready(gateway)
    page = await (await gateway.get("/metrics")).text()
    assert 'tp_gateway_degraded_total{code="store_unavailable",pool="chat",service_class="elastic"} 1.0' in page
    own.start()
    await until(lambda: gateway.gateway.routes.reachable, 10)
    await until(lambda: ready(gateway), 10)
    async with gateway.post(strict) as answer:
        assert answer.status == 200
    await until(lambda: not gateway.gateway.settler.waiting)
    await ended(world, 3)


async def test_what_could_not_be_settled_is_settled_when_the_store_is_back(
    own: OwnStore, world: World, endpoint: Endpoint, start: Start
) -> None:
    world.pool(endpoint.url)
    gateway = await start(command_timeout_s=0.2)
    endpoint.behaviours.append("opened")
    async with gateway.post(world.entitle(), STREAM) as answer:
        own.kill()
        endpoint.let_go()
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")  # the client is not made to wait for the books
    await until(lambda: len(gateway.gateway.settler.waiting) == 1)
    own.start()
    [event] = await ended_later(world)
    assert (event.outcome, event.source, event.charged_tokens) == (Outcome.COMPLETED, "engine", 16)


async def ended_later(world: World) -> list[object]:
    """As ``ended``, with the time a reconnect takes."""
    await until(lambda: world.usage(), 10)
    return await ended(world)


async def test_a_gateway_may_start_before_its_store(
    own: OwnStore, world: World, endpoint: Endpoint, start: Start
) -> None:
    world.pool(endpoint.url)
    key = world.entitle()
    own.kill()
    gateway = await start(command_timeout_s=0.2)
    assert not await ready(gateway)
    async with gateway.get("/livez") as answer:
        assert answer.status == 200
    async with gateway.post(key) as answer:
        assert answer.status == 503
    own.start()
    await until(lambda: ready(gateway), 10)
    async with gateway.post(key) as answer:
        assert answer.status == 200
