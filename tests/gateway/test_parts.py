"""Table cases of the parts that need no socket: streams as bytes, prompts as tokens, endpoints by room, headers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.choices import FailMode, ServiceClass
from pools.gateway.estimate import measure, upstream_body
from pools.gateway.keys import Grant
from pools.gateway.parse import Kind, parse
from pools.gateway.routes import Route, read_route
from pools.gateway.sse import StreamMeter
from pools.gateway.wire import duration
from portal.lib.errors import DomainError

GRANT = Grant("chat", 1, 1, ServiceClass.ELASTIC, "gold", 64, 4096, 0, FailMode.CLOSED)


def route(*endpoints: dict[str, Any], **changes: Any) -> Route:
    base = {"state": "ready", "slots": 10, "kv_bytes": 1000, "running": 0, "waiting": 0, "kv_usage": 0.0, "fresh": True}
    document = {
        "pool_id": 1, "pool": "chat", "model": "chat", "upstream_model": "sim", "context_length": 1000,
        "block_tokens": 16, "kv_bytes_per_token": 10, "weight_input": 1, "weight_output": 2, "bytes_per_token": 4.0,
        "lease_ms": 60_000, "capacity_version": 1, "mean_service_ms": 100, "tokenize": False,
        "endpoints": [{**base, "id": n, "url": f"http://e{n}", **e} for n, e in enumerate(endpoints, 1)], **changes,
    }  # fmt: skip
    return read_route(json.dumps(document).encode(), None)


WORD = b'data: {"choices":[{"delta":{"content":"say \\"usage\\": {x} data: y"}}]}\n\n'
NULL_USAGE = b'data: {"choices":[{"delta":{"content":"a"}}],"usage":null}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


@settings(max_examples=200)
@given(st.lists(st.sampled_from([WORD, NULL_USAGE]), max_size=6), st.booleans(), st.data())
def test_a_stream_cut_anywhere_is_forwarded_whole(words: list[bytes], strip: bool, data: st.DataObject) -> None:
    whole = b"".join(words) + USAGE + DONE
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    meter = StreamMeter(strip_usage=strip)
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    forwarded = b"".join(meter.feed(piece) for piece in pieces if piece) + meter.flush()
    assert forwarded == (whole.replace(USAGE, b"") if strip else whole)
    assert meter.usage == {"prompt_tokens": 3, "completion_tokens": 2}
    assert meter.done and not meter.failed and meter.events == len(words)


def test_streams_with_carriage_returns_and_comments() -> None:
    meter = StreamMeter(strip_usage=True)
    crlf = (WORD + USAGE + DONE).replace(b"\n", b"\r\n")
    assert meter.feed(crlf) == (WORD + DONE).replace(b"\n", b"\r\n")
    assert meter.usage is not None and meter.done


def test_an_event_without_an_end_is_not_kept_for_ever() -> None:
    meter = StreamMeter(strip_usage=True)
    with pytest.raises(ValueError, match="too long"):
        for _ in range(100):
            meter.feed(b"x" * 100_000)


def chat(content: Any, **more: Any) -> Any:
    body = {"model": "chat", "messages": [{"role": "user", "content": content}], **more}
    return parse(Kind.CHAT, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("request_", "input_tokens", "max_tokens", "tokens", "sequences"),
    [
        (chat("x" * 88), 25, 64, 25 + 2 * 64, 1),  # (88 + 12) / 4, the tier's default
        (chat("é" * 44), 25, 64, 25 + 2 * 64, 1),  # bytes, not characters
        (chat("x" * 88, max_tokens=10, n=3), 25, 10, 25 + 2 * 30, 3),
        (chat("x" * 88, max_completion_tokens=7), 25, 7, 25 + 14, 1),
        (chat([{"type": "text", "text": "x" * 88}, {"type": "image_url", "image_url": {"url": "u", "detail": "low"}}]),
         110, 64, 110 + 128, 1),
        (chat("x" * 88, tools=[{"type": "function"}]), 31, 64, 31 + 128, 1),
        (parse(Kind.COMPLETION, b'{"model":"chat","prompt":[[1,2,3],[4]],"max_tokens":5,"n":2}'), 4, 5, 4 + 2 * 20, 4),
        (parse(Kind.COMPLETION, b'{"model":"chat","prompt":"abcd","max_tokens":5,"best_of":2}'), 1, 5, 1 + 2 * 10, 2),
        (parse(Kind.EMBEDDING, b'{"model":"chat","input":["abcd","efgh"]}'), 2, 0, 2, 1),
    ],
)  # fmt: skip
def test_what_a_request_costs(request_: Any, input_tokens: int, max_tokens: int, tokens: int, sequences: int) -> None:
    size = measure(request_, GRANT, route())
    assert (size.input_tokens, size.max_tokens) == (input_tokens, max_tokens)
    assert (size.cost.tokens, size.cost.concurrency) == (tokens, sequences)
    assert size.learn_bytes == (0 if request_.prompt.known_tokens else request_.prompt.text_bytes)


def test_a_missing_max_tokens_is_shortened_to_the_context_and_sent_on() -> None:
    request = chat("x" * 3800, stream=True)
    size = measure(request, GRANT, route())
    assert size.max_tokens == 1000 - 953
    sent = json.loads(upstream_body(request, route(), size))
    assert sent["max_tokens"] == 47 and sent["model"] == "sim" and sent["stream_options"] == {"include_usage": True}


def test_an_estimate_is_only_believed_when_it_is_far_over() -> None:
    measure(chat("x" * 3600, max_tokens=200), GRANT, route())  # about 903 + 200, perhaps less: the engine decides
    with pytest.raises(DomainError, match="maximum context length is 1,000"):
        measure(chat("x" * 3600, max_tokens=300), GRANT, route())
    with pytest.raises(DomainError, match="maximum context length"):
        measure(chat("x" * 3600, max_tokens=200), GRANT, route(), exact_tokens=903)


@pytest.mark.parametrize(
    ("endpoints", "tried", "chosen"),
    [
        ([{"running": 5}, {"running": 2}], [], 2),
        ([{"running": 2}, {"running": 1, "waiting": 5}], [], 1),
        ([{"kv_usage": 0.9}, {"running": 5}], [], 2),
        ([{"fresh": False}, {"running": 9}], [], 2),  # stale counts as full
        ([{"fresh": False}, {"fresh": False, "running": 3}], [], 1),  # but serves where nothing else is left
        ([{"state": "draining"}, {"running": 9}], [], 2),
        ([{}, {"running": 9}], [1], 2),
        ([{}], [1], None),
        ([], [], None),
    ],
)
def test_the_endpoint_with_most_room(endpoints: list[dict[str, Any]], tried: list[int], chosen: int | None) -> None:
    picked = route(*endpoints).pick(0.0, 10, tried)
    assert (picked.id if picked else None) == chosen


def test_what_was_sent_since_the_scrape_counts_and_equals_take_turns() -> None:
    pair = route({}, {})
    picks = []
    for _ in range(6):
        endpoint = pair.pick(0.0, 10)
        assert endpoint is not None
        endpoint.take(10)
        picks.append(endpoint.id)
    assert sorted(picks) == [1, 1, 1, 2, 2, 2]
    pair.endpoints[0].benched_until = 5.0
    assert {pair.pick(1.0, 10).id for _ in range(4)} == {2}  # type: ignore[union-attr]


@pytest.mark.parametrize(("ms", "text"), [(0, b"0ms"), (20, b"20ms"), (1500, b"1.5s"), (360_000, b"6m0s")])
def test_durations(ms: int, text: bytes) -> None:
    assert duration(ms) == text
