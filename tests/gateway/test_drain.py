"""SIGTERM to real processes: streams end in their own time, the late are cut and settled, nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest

from pools.choices import Outcome
from tests.gateway.endpoint import Endpoint
from tests.gateway.test_bad_input import shaped
from tests.gateway.test_endings import STREAM, ended, events
from tests.gateway.world import SECRET, Key, World, until


class Process:
    """``python -m pools.gateway`` with these settings."""

    def __init__(self, world: World, **settings: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ, "REDIS_URL": world.url, "SECRET_KEY": SECRET, "GATEWAY_PORT": str(self.port),
            "LOG_LEVEL": "WARNING", **settings,
        }  # fmt: skip

    async def start(self, http: aiohttp.ClientSession) -> Process:
        self.child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pools.gateway", env=self.environment, stderr=asyncio.subprocess.PIPE
        )

        async def ready() -> bool:
            try:
                async with http.get(self.url + "/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await until(ready, 20)
        return self

    async def stream(self, http: aiohttp.ClientSession, key: Key) -> aiohttp.ClientResponse:
        return await http.post(self.url + "/v1/chat/completions", json=STREAM, headers=key.headers)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_stream_ends_in_its_own_time(world: World, endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
    world.pool(endpoint.url)
    key = world.entitle()
    process = await Process(world, GATEWAY_DRAIN="20", GATEWAY_DRAIN_DELAY="0.5").start(http)
    endpoint.behaviours.append("opened")
    answer = await process.stream(http, key)
    process.child.send_signal(signal.SIGTERM)

    async def unready() -> bool:
        async with http.get(process.url + "/readyz") as probe:
            return probe.status == 503 and (await probe.json())["draining"] is True

    await until(unready)
    async with http.post(process.url + "/v1/chat/completions", json=STREAM, headers=key.headers) as late:
        assert (late.status, shaped(await late.json())["code"]) == (503, "gateway_draining")
    endpoint.let_go()
    assert events(await answer.read())[-1] == b"[DONE]"
    assert await asyncio.wait_for(process.child.wait(), 10) in (0, -signal.SIGTERM)
    [event] = await ended(world)
    assert event.outcome is Outcome.COMPLETED


async def test_the_late_are_cut_and_settled(world: World, endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
    world.pool(endpoint.url)
    key = world.entitle()
    process = await Process(world, GATEWAY_DRAIN="0.3").start(http)
    endpoint.behaviours.append("opened")
    answer = await process.stream(http, key)
    process.child.send_signal(signal.SIGTERM)
    assert shaped(events(await answer.read())[-1])["code"] == "gateway_draining"
    await asyncio.wait_for(process.child.wait(), 10)
    [event] = await ended(world)
    assert event.outcome is Outcome.TIMEOUT


async def test_several_workers_share_one_port_and_add_up_their_metrics(
    world: World, endpoint: Endpoint, http: aiohttp.ClientSession
) -> None:
    world.pool(endpoint.url)
    key = world.entitle()
    process = await Process(world, GATEWAY_WORKERS="2", GATEWAY_DRAIN="1").start(http)

    async def served() -> int:
        async with aiohttp.ClientSession() as fresh:  # a connection of its own may reach the other worker
            answer = await process.stream(fresh, key)
            await answer.read()
            return answer.status

    statuses = [await until(served) for _ in range(8)]
    assert statuses.count(200) == 8
    async with http.get(process.url + "/metrics") as answer:
        page = await answer.text()
    assert 'tp_gateway_requests_total{code="200",pool="chat",service_class="elastic"} 8.0' in page
    process.child.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.child.wait(), 10)
    await ended(world, 8)


async def test_a_crash_is_covered_by_the_lease(world: World, endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
    world.pool(endpoint.url, lease_ms=1000)
    process = await Process(world).start(http)
    endpoint.behaviours.append("opened")
    answer = await process.stream(http, world.entitle())
    assert world.live() == 1
    process.child.kill()
    await process.child.wait()
    answer.close()
    await until(lambda: world.store.reap(1) == 1, 15)
    [event] = await ended(world)
    assert event.outcome is Outcome.EXPIRED


async def test_a_wrong_setting_is_one_sentence(world: World) -> None:
    process = Process(world, GATEWAY_DRAIN="soon")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pools.gateway", env=process.environment, stderr=asyncio.subprocess.PIPE
    )
    _, said = await child.communicate()
    assert child.returncode == 2
    assert said.decode().strip() == (
        "GATEWAY_DRAIN is 'soon'; it must be a number. Correct the environment and start again."
    )
