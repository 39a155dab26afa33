"""The endpoint as the official client and a plain socket see it: answers, streams, counts, errors, aborts, faults."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import openai
import pytest

from pools.providers.exposition import parse
from pools.simulator.profile import StepCosts
from pools.simulator.server import Faults, Served
from tests.simulator.conftest import FAST, Serve, until

HELLO: list[Any] = [{"role": "user", "content": "Who waits in the queue?"}]


def client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)


async def post(url: str, path: str, body: Any, **options: Any) -> tuple[int, dict[str, Any]]:
    """(status, JSON answer) of a raw request; ``body`` may be bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with aiohttp.ClientSession() as session, session.post(url + path, data=data, **options) as answer:
        return answer.status, await answer.json()


async def test_a_chat_answers_the_same_to_the_same(serve: Serve) -> None:
    here = await serve()
    async with client(here.url) as openai_client:
        answers = [
            await openai_client.chat.completions.create(model="chat-8b", messages=HELLO, max_completion_tokens=7)
            for _ in range(2)
        ]
        assert [model.id async for model in await openai_client.models.list()] == ["chat-8b"]
    first, second = answers
    assert first.choices[0].message.content == second.choices[0].message.content
    assert first.choices[0].finish_reason == "length"
    assert first.usage is not None
    assert (first.usage.completion_tokens, first.usage.total_tokens) == (7, first.usage.prompt_tokens + 7)


async def test_the_synchronous_client_is_answered_too(serve: Serve) -> None:
    here = await serve()

    def ask() -> str | None:
        with openai.OpenAI(base_url=f"{here.url}/v1", api_key="any", max_retries=0) as plain:
            answer = plain.completions.create(
                model="chat-8b", prompt="a", max_tokens=3, extra_body={"ignore_eos": True}
            )
            return answer.choices[0].finish_reason

    assert await asyncio.to_thread(ask) == "length"


async def test_a_stream_has_one_chunk_per_token_then_usage_then_the_end(serve: Serve) -> None:
    here = await serve()
    async with client(here.url) as openai_client:
        whole = await openai_client.chat.completions.create(model="chat-8b", messages=HELLO, max_tokens=9)
        stream = await openai_client.chat.completions.create(
            model="chat-8b", messages=HELLO, max_tokens=9, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content for chunk in chunks[1:-2]]
    assert len(texts) == 9
    assert "".join(text or "" for text in texts) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 9


async def test_several_choices_and_prompts_are_counted(serve: Serve) -> None:
    here = await serve()
    async with client(here.url) as openai_client:
        chat = await openai_client.chat.completions.create(model="chat-8b", messages=HELLO, max_tokens=4, n=3)
        plain = await openai_client.completions.create(
            model="chat-8b", prompt=["one", "two"], max_tokens=4, n=2, extra_body={"ignore_eos": True}
        )
        stream = await openai_client.chat.completions.create(
            model="chat-8b", messages=HELLO, max_tokens=4, n=3, stream=True, extra_body={"ignore_eos": True}
        )
        indexes = {chunk.choices[0].index async for chunk in stream}
    assert len({choice.message.content for choice in chat.choices}) == 3
    assert plain.usage is not None
    assert [choice.index for choice in plain.choices] == [0, 1, 2, 3]
    assert (plain.usage.prompt_tokens, plain.usage.completion_tokens) == (2, 16)
    assert indexes == {0, 1, 2}


@pytest.mark.parametrize(
    ("body", "headers", "tokens", "reason"),
    [
        ({"simulated_output_tokens": 5, "max_tokens": 50}, {}, 5, "stop"),
        ({"simulated_output_tokens": 50, "max_tokens": 5}, {}, 5, "length"),
        ({"max_tokens": 50}, {"x-simulated-output-tokens": "6"}, 6, "stop"),
        ({"max_tokens": 30, "ignore_eos": True}, {}, 30, "length"),
        ({"simulated_output_tokens": 2, "min_tokens": 8, "max_tokens": 50}, {}, 8, "stop"),
        ({"simulated_output_tokens": 12}, {}, 12, "stop"),
    ],
)
async def test_length_hints(
    serve: Serve, body: dict[str, Any], headers: dict[str, str], tokens: int, reason: str
) -> None:
    here = await serve()
    status, answer = await post(here.url, "/v1/chat/completions", {"messages": HELLO, **body}, headers=headers)
    assert status == 200
    assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (tokens, reason)


async def test_a_stop_string_ends_the_answer_before_it(serve: Serve) -> None:
    here = await serve()
    body = {"messages": HELLO, "max_tokens": 40, "ignore_eos": True}
    _status, whole = await post(here.url, "/v1/chat/completions", body)
    text = whole["choices"][0]["message"]["content"]
    stop = text[60:66]
    _status, cut = await post(here.url, "/v1/chat/completions", {**body, "stop": [stop]})
    assert cut["choices"][0]["message"]["content"] == text[: text.index(stop)]
    assert cut["choices"][0]["finish_reason"] == "stop"
    assert cut["usage"]["completion_tokens"] < 40


async def test_images_and_tools_weigh(serve: Serve) -> None:
    here = await serve()
    parts = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]

    async def weigh(content: Any, **more: Any) -> int:
        body = {"messages": [{"role": "user", "content": content}], **more}
        return int((await post(here.url, "/tokenize", body))[1]["count"])

    assert await weigh(parts) == await weigh("see") + 576
    assert await weigh("see", tools=tools) > await weigh("see") + 10


async def test_embeddings_have_a_size_and_a_count(serve: Serve) -> None:
    here = await serve()
    async with client(here.url) as openai_client:
        answer = await openai_client.embeddings.create(model="chat-8b", input=["one", "two"])
    assert [len(row.embedding) for row in answer.data] == [64, 64]
    assert answer.usage.prompt_tokens == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/v1/chat/completions", b"{broken", 400, None),
        ("/v1/chat/completions", b"[]", 400, None),
        ("/v1/chat/completions", {"messages": []}, 400, "messages"),
        ("/v1/chat/completions", {"messages": [{"content": "no role"}]}, 400, "messages"),
        ("/v1/chat/completions", {"messages": HELLO, "max_tokens": -1}, 400, "max_tokens"),
        ("/v1/chat/completions", {"messages": HELLO, "max_tokens": True}, 400, "max_tokens"),
        ("/v1/chat/completions", {"messages": HELLO, "max_tokens": 10**9}, 400, "messages"),
        ("/v1/chat/completions", {"messages": HELLO, "n": 1000}, 400, "n"),
        ("/v1/chat/completions", {"messages": HELLO, "temperature": "hot"}, 400, "temperature"),
        ("/v1/chat/completions", {"messages": HELLO, "model": "other"}, 404, "model"),
        ("/v1/completions", {"prompt": "x" * 10_000, "max_tokens": 1}, 400, "prompt"),
        ("/v1/completions", {"prompt": {"no": 1}}, 400, "prompt"),
        ("/v1/completions", {"prompt": "a", "stop": 5}, 400, "stop"),
        ("/v1/embeddings", {"input": "x" * 10_000}, 400, "input"),
        ("/v1/unknown", {}, 404, None),
    ],
)
async def test_bad_requests_are_told_why(serve: Serve, path: str, body: Any, status: int, param: str | None) -> None:
    here = await serve()
    seen, answer = await post(here.url, path, body)
    assert seen == status
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["error"]["param"] == param
    assert here.server.driver.engine.blocks.used == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_frees_its_blocks(serve: Serve, stream: bool) -> None:
    here = await serve()
    engine = here.server.driver.engine
    body = {"messages": HELLO, "stream": stream, "max_tokens": 900, "ignore_eos": True, "n": 2}
    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(_read(session, f"{here.url}/v1/chat/completions", body))
        await until(lambda: engine.telemetry.generation_tokens > 10)
        assert engine.blocks.used > 0
        asking.cancel()
    await until(lambda: engine.idle)
    assert engine.blocks.used == 0
    assert engine.telemetry.finished["abort"] == 2


async def _read(session: aiohttp.ClientSession, url: str, body: Any) -> bytes:
    async with session.post(url, json=body) as answer:
        return await answer.read()


@pytest.mark.parametrize("old", [False, True])
async def test_metrics_are_read_by_our_own_scraper_under_both_names(serve: Serve, old: bool) -> None:
    here = await serve(served=Served(models=('chat "8b"',), old_metric_names=old))
    await post(here.url, "/v1/completions", {"prompt": "abcdefg", "max_tokens": 5, "ignore_eos": True})
    async with aiohttp.ClientSession() as session, session.get(f"{here.url}/metrics") as answer:
        text = await answer.text()
    assert ("vllm:gpu_cache_usage_perc" in text) is old
    assert ("vllm:kv_cache_usage_perc" in text) is not old
    assert 'vllm:request_success_total{engine="0",model_name="chat \\"8b\\"",finished_reason="length"} 1' in text
    seen = parse(text, datetime(2026, 1, 1, tzinfo=UTC))
    assert (seen.running, seen.waiting, seen.kv_usage) == (0, 0, 0.0)
    assert (seen.num_gpu_blocks, seen.block_tokens) == (256, 16)
    assert (seen.prompt_tokens_total, seen.generation_tokens_total) == (2, 5)


async def test_more_than_the_slots_wait_and_are_all_served(serve: Serve) -> None:
    slow = replace(FAST, max_num_seqs=2, costs=StepCosts(0.01, 0.0, 100_000.0))
    here = await serve(profile=slow)
    body = {"messages": HELLO, "max_tokens": 20, "ignore_eos": True}
    asks = [asyncio.create_task(post(here.url, "/v1/chat/completions", body)) for _ in range(5)]
    await until(lambda: len(here.server.driver.engine.waiting) == 3)
    assert len(here.server.driver.engine.running) == 2
    assert [status for status, _answer in await asyncio.gather(*asks)] == [200] * 5


async def test_faults_fail_stall_and_drain(serve: Serve) -> None:
    body = {"messages": HELLO, "max_tokens": 50, "ignore_eos": True}
    failing = await serve(served=Served(models=("chat-8b",), faults=Faults(fail_rate=1.0)))
    assert (await post(failing.url, "/v1/chat/completions", body))[0] == 500
    stalling = await serve(served=Served(models=("chat-8b",), faults=Faults(stall_after=5)))
    asking = asyncio.create_task(post(stalling.url, "/v1/chat/completions", body))
    await until(lambda: stalling.server.driver.stalled)
    assert not asking.done()
    asking.cancel()
    draining = await serve()
    draining.server.draining = True
    assert (await post(draining.url, "/v1/chat/completions", body))[0] == 503
