"""The official client against the gateway: it is understood, reads what is there, retries what it may."""

from __future__ import annotations

import asyncio
import time

import httpx2 as httpx
import openai
import pytest

from pools.choices import Outcome
from pools.mechanism.amounts import Rate
from tests.gateway.conftest import CHAT, Running
from tests.gateway.endpoint import Endpoint
from tests.gateway.world import Key, World, until

MESSAGES = CHAT["messages"]


def client(gateway: Running, key: Key, **more: object) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key=key.plaintext, **more)


async def test_a_sync_client_gets_an_answer_with_usage(gateway: Running, world: World) -> None:
    key = world.entitle()

    def ask() -> openai.types.chat.ChatCompletion:
        with openai.OpenAI(base_url=gateway.url + "/v1", api_key=key.plaintext) as sync:
            return sync.chat.completions.create(model="chat", messages=MESSAGES, max_tokens=32)

    completion = await asyncio.to_thread(ask)
    assert completion.choices[0].message.content == "Hello."
    assert completion.usage is not None and completion.usage.total_tokens == 16
    [event] = world.usage()
    assert (event.outcome, event.source) == (Outcome.COMPLETED, "engine")
    assert (event.input_tokens, event.output_tokens, event.charged_tokens) == (11, 5, 16)
    assert event.prompt_bytes == len(MESSAGES[0]["content"]) + 12
    assert event.key_id == key.entitlement and event.endpoint_id == 1 and event.capacity_version == 1
    assert world.live() == 0


async def test_a_stream_without_asking_for_usage_has_none_but_it_is_charged(gateway: Running, world: World) -> None:
    key = world.entitle()
    async with client(gateway, key) as ai:
        stream = await ai.chat.completions.create(model="chat", messages=MESSAGES, max_tokens=32, stream=True)
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "word0 word1 word2 word3 word4 "
    assert all(chunk.usage is None for chunk in chunks)
    [event] = world.usage()
    assert (event.source, event.charged_tokens, event.outcome) == ("engine", 16, Outcome.COMPLETED)


async def test_a_stream_that_asks_for_usage_gets_it(gateway: Running, world: World, endpoint: Endpoint) -> None:
    key = world.entitle()
    async with client(gateway, key) as ai:
        stream = await ai.chat.completions.create(
            model="chat", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 5
    assert endpoint.seen[0]["max_tokens"] == 64  # the tier's default, for none was given
    assert endpoint.seen[0]["model"] == "sim-8b"


async def test_completions_embeddings_and_models(gateway: Running, world: World) -> None:
    key = world.entitle()
    async with client(gateway, key) as ai:
        completion = await ai.completions.create(model="chat", prompt=["one", "two"], max_tokens=8)
        assert completion.choices[0].text == "Hello."
        embedding = await ai.embeddings.create(model="chat", input="some text", encoding_format="float")
        assert embedding.data[0].embedding == [0.1, 0.2]
        assert [model.id async for model in await ai.models.list()] == ["chat"]
        assert (await ai.models.retrieve("chat")).id == "chat"
        with pytest.raises(openai.NotFoundError):
            await ai.models.retrieve("other")
    assert [event.concurrency for event in world.usage()] == [2, 1]


async def test_a_refusal_is_retried_after_retry_after_ms(gateway: Running, world: World, endpoint: Endpoint) -> None:
    key = world.entitle(cap=Rate(1000, 16 * 8192 * 1024, 1))
    endpoint.behaviours.append("held")
    answers: list[httpx.Response] = []

    async def note(response: httpx.Response) -> None:
        answers.append(response)
        endpoint.free.set()  # the slot is free by the time the client comes back

    async with client(gateway, key, http_client=httpx.AsyncClient(event_hooks={"response": [note]})) as ai:
        first = asyncio.create_task(gateway.post(key).__aenter__())
        await endpoint.arrived.wait()
        began = time.monotonic()
        completion = await ai.chat.completions.create(model="chat", messages=MESSAGES, max_tokens=32)
        waited = time.monotonic() - began
        assert (await first).status == 200
    assert completion.choices[0].message.content == "Hello."
    refused, served = answers
    assert (refused.status_code, served.status_code) == (429, 200)
    assert waited * 1000 >= int(refused.headers["retry-after-ms"]) * 0.75
    error = refused.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error) and error["code"] == "concurrency"
    assert error["binding"]["dimension"] == "concurrency" and error["binding"]["limit"] == 1
    assert "uses 1 of 1" in error["message"]
    assert refused.headers["x-should-retry"] == "true" and int(refused.headers["retry-after"]) >= 1
    for answer in (refused, served):
        for name in ("limit", "remaining", "reset"):
            assert answer.headers[f"x-ratelimit-{name}-requests"] and answer.headers[f"x-ratelimit-{name}-tokens"]
        assert answer.headers["ratelimit-policy"].startswith('"requests";q=1')
        assert answer.headers["ratelimit"].startswith('"requests";r=0;t=')
        assert answer.headers["x-request-id"].startswith("req-")


async def test_a_request_that_can_never_fit_is_not_retried(gateway: Running, world: World) -> None:
    key = world.entitle(bucket=100)
    async with client(gateway, key) as ai:
        with pytest.raises(openai.APIStatusError) as caught:
            await ai.chat.completions.create(model="chat", messages=MESSAGES, max_tokens=500)
    response = caught.value.response
    assert response.status_code == 413 and caught.value.code == "never_fits"
    assert "retry-after" not in response.headers and response.headers["x-should-retry"] == "false"
    page = await (await gateway.get("/metrics")).text()
    refused = 'tp_gateway_refusals_total{code="never_fits",pool="chat",service_class="elastic"} 1.0'
    assert refused in page  # asked once
    assert world.untouched()


async def test_the_slot_is_free_when_the_answer_arrives(gateway: Running, world: World) -> None:
    """Sequential requests of an entitlement with one slot never meet themselves."""
    key = world.entitle(cap=Rate(1000, 16 * 8192 * 1024, 1))
    async with client(gateway, key, max_retries=0) as ai:
        for turn in range(20):
            stream = turn % 2 == 1
            answer = await ai.chat.completions.create(model="chat", messages=MESSAGES, max_tokens=32, stream=stream)
            if stream:
                assert [chunk async for chunk in answer]
    await until(lambda: len(world.usage()) == 20)
