"""What must never get in: every wrong request is a 4xx of the OpenAI shape that says why, and nothing is reserved."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pools.choices import EntitlementState, ServiceClass
from tests.gateway.conftest import CHAT, Running, Start
from tests.gateway.endpoint import Endpoint
from tests.gateway.world import World

WRONG: dict[str, tuple[Any, int, str, str | None]] = {
    "not an object": ([1], 400, "invalid_type", None),
    "no model": ({"messages": CHAT["messages"]}, 400, "missing_model", "model"),
    "model of a wrong type": ({**CHAT, "model": 7}, 400, "missing_model", "model"),
    "unknown model": ({**CHAT, "model": "gpt-9"}, 404, "model_not_found", "model"),
    "no messages": ({"model": "chat"}, 400, "invalid_type", "messages"),
    "messages of a wrong type": ({**CHAT, "messages": "hello"}, 400, "invalid_type", "messages"),
    "an empty message": ({**CHAT, "messages": [{}]}, 400, "invalid_value", "messages.0"),
    "an unknown role": ({**CHAT, "messages": [{"role": "root", "content": "x"}]}, 400, "invalid_value", "messages.0"),
    "content of a wrong type": (
        {**CHAT, "messages": [{"role": "user", "content": 7}]}, 400, "invalid_type", "messages.0.content"
    ),
    "max_tokens -1": ({**CHAT, "max_tokens": -1}, 400, "integer_below_min_value", "max_tokens"),
    "max_tokens 0": ({**CHAT, "max_tokens": 0}, 400, "integer_below_min_value", "max_tokens"),
    "max_tokens 10^9": ({**CHAT, "max_tokens": 10**9}, 400, "integer_above_max_value", "max_tokens"),
    "max_tokens 10^30": ({**CHAT, "max_tokens": 10**30}, 400, "invalid_type", "max_tokens"),
    "max_tokens above the tier": ({**CHAT, "max_tokens": 4097}, 400, "integer_above_max_value", "max_tokens"),
    "max_tokens above the context": ({**CHAT, "max_tokens": 9000}, 400, "context_length_exceeded", "messages"),
    "max_tokens as text": ({**CHAT, "max_tokens": "32"}, 400, "invalid_type", "max_tokens"),
    "max_tokens as a boolean": ({**CHAT, "max_tokens": True}, 400, "invalid_type", "max_tokens"),
    "max_tokens as a fraction": ({**CHAT, "max_tokens": 1.5}, 400, "invalid_type", "max_tokens"),
    "max_completion_tokens -1": (
        {**CHAT, "max_completion_tokens": -1}, 400, "integer_below_min_value", "max_completion_tokens"
    ),
    "n 0": ({**CHAT, "n": 0}, 400, "integer_below_min_value", "n"),
    "n 1000": ({**CHAT, "n": 1000}, 400, "integer_above_max_value", "n"),
    "stream as text": ({**CHAT, "stream": "yes"}, 400, "invalid_type", "stream"),
    "stream_options without a stream": (
        {**CHAT, "stream_options": {"include_usage": True}}, 400, "invalid_value", "stream_options"
    ),
    "temperature 9": ({**CHAT, "temperature": 9}, 400, "number_above_max_value", "temperature"),
    "tools of a wrong type": ({**CHAT, "tools": {}}, 400, "invalid_type", "tools"),
    "a prompt longer than the context": (
        {**CHAT, "messages": [{"role": "user", "content": "x" * 50_000}]}, 400, "context_length_exceeded", "messages"
    ),
    "tools longer than the context": (
        {**CHAT, "tools": [{"type": "function", "function": {"name": "x" * 50_000}}]},
        400, "context_length_exceeded", "messages",
    ),
    "more than can ever fit": ({**CHAT, "n": 9}, 413, "never_fits", None),
}  # fmt: skip


def shaped(document: Any) -> dict[str, Any]:
    """The error of an answer, checked for the four members OpenAI's clients read."""
    error: dict[str, Any] = document["error"]
    assert {"message", "type", "param", "code"} <= set(error), error
    assert isinstance(error["message"], str) and error["message"], error
    return error


async def test_wrong_requests_are_refused_with_the_reason_and_nothing_is_reserved(
    gateway: Running, world: World, endpoint: Endpoint
) -> None:
    key = world.entitle()
    for name, (body, status, code, param) in WRONG.items():
        async with gateway.post(key, body) as answer:
            error = shaped(await answer.json())
            assert (answer.status, error["code"], error["param"]) == (status, code, param), (name, error)
            assert answer.headers["x-should-retry"] == "false" and "retry-after" not in answer.headers, name
    assert world.untouched() and not endpoint.seen


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b'{"model":', b"[" * 100_000, b"null", b'"x"', b'{"a":NaN}'])
async def test_broken_json(gateway: Running, world: World, raw: bytes) -> None:
    async with gateway.post(world.entitle(), data=raw) as answer:
        assert answer.status == 400
        assert shaped(await answer.json())["code"] in {"invalid_json", "invalid_type"}
    assert world.untouched()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "chat"}),
        ("/v1/completions", {"model": "chat", "prompt": []}),
        ("/v1/completions", {"model": "chat", "prompt": [1, "a"]}),
        ("/v1/completions", {"model": "chat", "prompt": ["a"] * 3000}),
        ("/v1/completions", {"model": "chat", "prompt": "x", "best_of": -1}),
        ("/v1/embeddings", {"model": "chat"}),
        ("/v1/embeddings", {"model": "chat", "input": {"a": 1}}),
        ("/v1/embeddings", {"model": "chat", "input": "x", "dimensions": 0}),
        ("/v1/embeddings", {"model": "chat", "input": list(range(9000))}),
    ],
)
async def test_wrong_prompts_and_inputs(gateway: Running, world: World, path: str, body: Any) -> None:
    async with gateway.post(world.entitle(), body, path) as answer:
        assert answer.status == 400
        shaped(await answer.json())
    assert world.untouched()


async def test_a_body_of_50_mb_is_refused_whether_its_length_is_declared_or_not(gateway: Running, world: World) -> None:
    key = world.entitle()
    huge = b"x" * 50_000_000

    async def trickle() -> Any:
        for start in range(0, len(huge), 1_000_000):
            yield huge[start : start + 1_000_000]

    for data in (huge, trickle()):
        async with gateway.post(key, data=data) as answer:
            assert answer.status == 413
            assert shaped(await answer.json())["code"] == "request_too_large"
            assert answer.headers["x-should-retry"] == "false" and "retry-after" not in answer.headers
    assert world.untouched()


async def test_unknown_paths_and_methods(gateway: Running, world: World) -> None:
    key = world.entitle()
    for method, path, status in (
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 404),
        ("GET", "/v1/files", 404),
        ("POST", "/admin", 404),
    ):
        async with gateway.http.request(method, gateway.url + path, headers=key.headers) as answer:
            assert answer.status == status
            shaped(await answer.json())


async def talk(gateway: Running, raw: bytes) -> bytes:
    """Sends bytes as they are and reads until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(raw)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def test_header_injection_never_reaches_the_answer_or_the_endpoint(
    gateway: Running, world: World, endpoint: Endpoint
) -> None:
    key = world.entitle()
    hostile = "a\r\nx-evil: 1"
    body = {**CHAT, "model": "chat\r\nx-evil: 1"}
    async with gateway.post(key, body) as answer:
        assert answer.status == 404 and "x-evil" not in answer.headers
    headers = {"x-request-id": "a%0d%0ax-evil:1", "idempotency-key": "\u00e9" * 50, "x-forwarded-for": "1.2.3.4"}
    async with gateway.post(key, headers=headers) as answer:
        assert answer.status == 200 and answer.headers["x-request-id"].startswith("req-")
    assert all(b"evil" not in head and key.plaintext.encode() not in head for head in endpoint.heads)
    split = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
    rest = b"connection: close\r\ncontent-length: 0\r\n\r\n"
    assert b"HTTP/1.1 401" in await talk(gateway, split % hostile.encode() + rest)
    both = b"POST /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    assert b"HTTP/1.1 400" in await talk(gateway, both)


async def test_huge_headers_are_refused(gateway: Running, world: World) -> None:
    world.entitle()
    raw = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n" + b"x-a: %b\r\n" % (b"y" * 4000) * 20 + b"\r\n"
    answer = await talk(gateway, raw)
    assert answer.startswith(b"HTTP/1.1 431") and b'"headers_too_large"' in answer


async def test_a_slow_loris_is_shown_the_door(world: World, endpoint: Endpoint, start: Start) -> None:
    world.pool(endpoint.url)
    gateway = await start(header_timeout_s=0.2, body_timeout_s=0.2)
    key = world.entitle()
    slow_head = await talk(gateway, b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-a: ")
    assert slow_head.startswith(b"HTTP/1.1 408") and b"x-should-retry: false" in slow_head
    silent = await talk(gateway, b"")
    assert silent == b""
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 900\r\n\r\n{{"
    slow_body = await talk(gateway, head.format(key.plaintext).encode())
    assert slow_body.startswith(b"HTTP/1.1 408") and b'"request_timeout"' in slow_body
    assert b"x-should-retry: false" in slow_body and b"connection: close" in slow_body
    assert world.untouched()


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        (EntitlementState.SUSPENDED, 403, "suspended"),
        (EntitlementState.EXPIRED, 403, "expired"),
        (EntitlementState.PENDING, 503, "pending"),
    ],
)
async def test_entitlements_that_are_not_bound(
    gateway: Running, world: World, state: EntitlementState, status: int, code: str
) -> None:
    key = world.entitle(ServiceClass.GUARANTEED, state=state)
    async with gateway.post(key) as answer:
        assert answer.status == status and shaped(await answer.json())["code"] == code
        assert ("retry-after" in answer.headers) == (status == 503)
    assert world.untouched()
