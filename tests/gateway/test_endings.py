"""Every way a request can end: the slot is free afterwards, and what was streamed is charged."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from pools.choices import Outcome, ServiceClass
from pools.gateway.upstream import Timeouts
from pools.mechanism.amounts import Rate
from tests.gateway.conftest import CHAT, Running, Start
from tests.gateway.endpoint import Endpoint
from tests.gateway.test_bad_input import shaped
from tests.gateway.world import POOL, World, until

STREAM = {**CHAT, "stream": True}
PROMPT_TOKENS = 8  # (19 bytes + 12 of framing) at 4 bytes per token


def events(text: bytes) -> list[Any]:
    """The documents of a stream's events; ``[DONE]`` as it is."""
    parts = [part.removeprefix(b"data: ") for part in text.strip().split(b"\n\n")]
    return [part if part == b"[DONE]" else json.loads(part) for part in parts]


async def ended(world: World, count: int = 1) -> list[Any]:
    """The usage events once that many requests are settled; nothing is reserved then."""
    found: list[Any] = []

    def settled() -> bool:
        found[:] = list(world.usage())
        return len(found) >= count

    await until(settled)
    assert world.live() == 0
    pool = world.store.snapshot(POOL).pool
    assert (pool.use_kv, pool.use_seats, pool.admitted, pool.settled + pool.expired) == (0, 0, count, count)
    return found


async def test_a_client_that_leaves_midstream_frees_its_slot(
    gateway: Running, world: World, endpoint: Endpoint
) -> None:
    endpoint.behaviours.append("paced")
    endpoint.step(2)
    async with gateway.post(world.entitle(), STREAM) as answer:
        await answer.content.readuntil(b"word1 ")
        assert world.live() == 1
        answer.close()
    [event] = await ended(world)
    assert (event.outcome, event.source) == (Outcome.CLIENT_GONE, "counted")
    assert (event.input_tokens, event.output_tokens) == (PROMPT_TOKENS, 1)  # the first event opens, it is no token
    await asyncio.wait_for(endpoint.aborted.wait(), 5)  # the engine learns of it


async def test_a_client_that_leaves_before_the_answer_frees_its_slot(
    gateway: Running, world: World, endpoint: Endpoint
) -> None:
    endpoint.behaviours.append("hangs")
    request = asyncio.create_task(gateway.post(world.entitle()).__aenter__())
    await endpoint.arrived.wait()
    request.cancel()
    [event] = await ended(world)
    assert (event.outcome, event.charged_tokens) == (Outcome.CLIENT_GONE, PROMPT_TOKENS)
    await asyncio.wait_for(endpoint.aborted.wait(), 5)


async def test_a_client_that_stops_reading_can_still_be_evicted(
    gateway: Running, world: World, endpoint: Endpoint
) -> None:
    endpoint.behaviours.append("firehose")
    key = world.entitle(ServiceClass.PREEMPTIBLE)
    async with gateway.post(key, STREAM) as answer:
        live = await until(lambda: next(iter(gateway.gateway.live._running.values()), None))
        await until(lambda: live.sending_since)
        await until(lambda: gateway.gateway.live._running and live.sending_since)
        gateway.gateway.live.evict(key.entitlement, live.request_id)
        [event] = await ended(world)
        assert event.outcome is Outcome.PREEMPTED
        answer.close()


async def test_an_endpoint_that_dies_before_its_first_byte_is_replaced(
    world: World, endpoint: Endpoint, second_endpoint: Endpoint, start: Start
) -> None:
    world.pool(endpoint.url, second_endpoint.url, "http://127.0.0.1:9")
    gateway = await start()
    key = world.entitle()
    for broken in ("dies", "dies_after_head", "garbage", "status_500"):
        endpoint.default = broken
        for body in (CHAT, STREAM):
            for endpoint_of in gateway.gateway.routes.get(POOL).endpoints:  # type: ignore[union-attr]
                endpoint_of.benched_until = 0.0
            async with gateway.post(key, body) as answer:
                text = await answer.read()
                assert answer.status == 200, (broken, text)
    found = await ended(world, 8)
    assert {(event.outcome, event.endpoint_id) for event in found} == {(Outcome.COMPLETED, 2)}
    assert endpoint.seen  # it was tried
    page = await (await gateway.get("/metrics")).text()
    assert 'tp_gateway_upstream_errors_total{code="connect",pool="chat"}' in page


async def test_no_endpoint_at_all(gateway: Running, world: World, endpoint: Endpoint) -> None:
    key = world.entitle()
    endpoint.default = "dies"
    async with gateway.post(key) as answer:
        error = shaped(await answer.json())
        assert (answer.status, error["code"]) == (503, "upstream_unavailable")
        assert answer.headers["retry-after"] and answer.headers["x-should-retry"] == "true"
    [event] = await ended(world)
    assert (event.outcome, event.charged_tokens) == (Outcome.UPSTREAM_ERROR, 0)


async def test_an_endpoint_that_dies_midstream_is_charged_what_it_streamed(
    gateway: Running, world: World, endpoint: Endpoint
) -> None:
    endpoint.behaviours.append("dies_midstream")
    async with gateway.post(world.entitle(), STREAM) as answer:
        assert answer.status == 200
        *words, last = events(await answer.read())
    assert len(words) == 3 and shaped(last)["code"] == "upstream_error"
    [event] = await ended(world)
    assert (event.outcome, event.source, event.output_tokens) == (Outcome.UPSTREAM_ERROR, "counted", 2)


async def test_an_error_event_of_the_engine_is_passed_on(gateway: Running, world: World, endpoint: Endpoint) -> None:
    endpoint.behaviours.append("error_event")
    async with gateway.post(world.entitle(), STREAM) as answer:
        assert events(await answer.read())[-1]["error"]["message"] == "out of memory"
    [event] = await ended(world)
    assert event.outcome is Outcome.UPSTREAM_ERROR


async def test_an_engine_without_usage_is_counted(gateway: Running, world: World, endpoint: Endpoint) -> None:
    endpoint.behaviours.append("no_usage")
    async with gateway.post(world.entitle(), STREAM) as answer:
        assert events(await answer.read())[-1] == b"[DONE]"
    [event] = await ended(world)
    assert (event.outcome, event.source, event.output_tokens, event.prompt_bytes) == (
        Outcome.COMPLETED, "counted", 4, 0,
    )  # fmt: skip


async def test_an_engines_refusal_is_passed_on_and_free(gateway: Running, world: World, endpoint: Endpoint) -> None:
    key = world.entitle()
    endpoint.behaviours.extend(["status_400", "status_401"])
    async with gateway.post(key) as answer:
        error = shaped(await answer.json())
        assert (answer.status, error["code"]) == (400, "context_length_exceeded")
    async with gateway.post(key) as answer:  # the operator's mistake, not the client's
        assert answer.status == 502 and "10.0.0.7" not in await answer.text()
    found = await ended(world, 2)
    assert [(event.outcome, event.charged_tokens) for event in found] == [(Outcome.RELEASED, 0)] * 2


async def test_an_endpoint_that_hangs(world: World, endpoint: Endpoint, start: Start) -> None:
    world.pool(endpoint.url)
    gateway = await start(timeouts=Timeouts(connect_s=1.0, first_byte_s=0.2, idle_s=0.2))
    key = world.entitle()
    endpoint.behaviours.extend(["hangs", "paced"])
    async with gateway.post(key) as answer:
        assert (answer.status, shaped(await answer.json())["code"]) == (504, "upstream_timeout")
    endpoint.step(2)
    async with gateway.post(key, STREAM) as answer:
        assert shaped(events(await answer.read())[-1])["code"] == "upstream_error"
    found = await ended(world, 2)
    assert [(event.outcome, event.output_tokens) for event in found] == [(Outcome.TIMEOUT, 0), (Outcome.TIMEOUT, 1)]


async def test_preemptible_work_is_evicted_for_its_betters(gateway: Running, world: World, endpoint: Endpoint) -> None:
    everything = Rate(1000, world.capacity.kv_bytes, 16)
    low = world.entitle(ServiceClass.PREEMPTIBLE, cap=everything)
    high = world.entitle(ServiceClass.GUARANTEED, cap=Rate(1000, world.capacity.kv_bytes // 4, 4))
    endpoint.behaviours.extend(["opened"] * 15 + ["hangs"])
    streams = [await gateway.post(low, STREAM).__aenter__() for _ in range(15)]
    waiting = asyncio.create_task(gateway.post(low).__aenter__())  # one has not begun to answer
    await until(lambda: len(endpoint.seen) == 16)
    async with gateway.post(high) as answer:
        assert answer.status == 200
    await until(lambda: any(event.outcome is Outcome.PREEMPTED for event in world.usage()))
    refused = await waiting  # the youngest is the victim
    error = shaped(await refused.json())
    assert (refused.status, error["code"]) == (503, "preempted")
    assert refused.headers["retry-after-ms"] and refused.headers["x-should-retry"] == "true"
    async with gateway.post(high, {**CHAT, "stream": True, "n": 3}) as answer:  # and now streams have to go
        assert answer.status == 200
    endpoint.let_go()
    texts = [events(await stream.read()) for stream in streams]
    victims = [text for text in texts if text[-1] != b"[DONE]"]
    assert len(victims) == 2  # one sequence was free
    assert all(shaped(text[-1])["code"] == "preempted" and text[-1]["error"]["retry_after_ms"] for text in victims)
    await ended(world, 18)


async def test_a_stream_longer_than_its_lease_lives_by_heartbeats(
    world: World, endpoint: Endpoint, start: Start
) -> None:
    world.pool(endpoint.url, lease_ms=1500)
    gateway = await start()
    endpoint.behaviours.append("paced")
    endpoint.step(3)
    async with gateway.post(world.entitle(), STREAM) as answer:
        first = await until(lambda: world.store.live_reservations(POOL))
        await until(lambda: world.store.live_reservations(POOL)[0].expires_at_ms > first[0].expires_at_ms + 500)
        endpoint.let_go()
        assert events(await answer.read())[-1] == b"[DONE]"
    assert world.store.reap(POOL) == 0
    [event] = await ended(world)
    assert event.outcome is Outcome.COMPLETED
