"""How many tokens a request will take before it runs, and the body that is sent on.

Prompt tokens = ceil(UTF-8 bytes / the pool's learned bytes per token) + tokens known exactly (token ids, images). The
ratio is learned from settled requests, so it needs no tokenizer; ``tokenize`` asks the endpoint instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import orjson

from pools.gateway.keys import Grant
from pools.gateway.parse import InferenceRequest, Kind
from pools.gateway.routes import Route
from pools.gateway.wire import bad_request
from pools.mechanism.amounts import Cost, request_cost

ESTIMATE_TOLERANCE = 0.8  # an estimated prompt is only called too long when this share of it already is


@dataclass(frozen=True, slots=True)
class Size:
    """``learn_bytes``: prompt bytes to learn the ratio from; 0 where part of the prompt was not text."""

    input_tokens: int
    max_tokens: int
    cost: Cost
    learn_bytes: int


def measure(request: InferenceRequest, grant: Grant, route: Route, exact_tokens: int | None = None) -> Size:
    """Input tokens, output bound and cost. Raises DomainError 400 when the model or the tier cannot take the request.

    A missing max_tokens becomes the tier's default, shortened to what the context leaves.
    """
    prompt = request.prompt
    estimated = math.ceil(prompt.text_bytes / route.bytes_per_token)
    input_tokens = exact_tokens if exact_tokens is not None else estimated + prompt.known_tokens
    certain = exact_tokens if exact_tokens is not None else int(estimated * ESTIMATE_TOLERANCE) + prompt.known_tokens
    per_sequence = max(1, certain // prompt.sequences)
    if per_sequence >= route.context_length:
        raise _too_long(request, route, f"the prompt has about {input_tokens:,} tokens")
    room = max(1, route.context_length - max(1, input_tokens // prompt.sequences))
    if request.kind is Kind.EMBEDDING:
        max_tokens = 0
    elif request.max_tokens is None:
        max_tokens = min(grant.default_max_tokens, grant.largest_max_tokens, room)
    else:
        max_tokens = request.max_tokens
        if per_sequence + max_tokens > route.context_length:
            raise _too_long(request, route, f"the prompt's about {input_tokens:,} tokens and max_tokens {max_tokens:,}")
        if max_tokens > grant.largest_max_tokens:
            raise bad_request(
                f"max_tokens is {max_tokens}; your tier allows at most {grant.largest_max_tokens}.",
                param="max_tokens",
                code="integer_above_max_value",
            )
    cost = request_cost(
        input_tokens=input_tokens,
        max_tokens=max_tokens,
        choices=request.choices,
        block_tokens=route.block_tokens,
        bytes_per_token=route.kv_bytes_per_token,
        weight_input=route.weight_input,
        weight_output=route.weight_output,
    )
    learn = 0 if prompt.known_tokens else prompt.text_bytes
    return Size(input_tokens, max_tokens, cost, learn)


def _too_long(request: InferenceRequest, route: Route, what: str) -> Exception:
    param = {Kind.CHAT: "messages", Kind.COMPLETION: "prompt", Kind.EMBEDDING: "input"}[request.kind]
    return bad_request(
        f"This model's maximum context length is {route.context_length:,} tokens; {what} exceed it. "
        "Shorten the prompt or lower max_tokens.",
        param=param,
        code="context_length_exceeded",
    )


def upstream_body(request: InferenceRequest, route: Route, size: Size) -> bytes:
    """The JSON sent to the endpoint: its own model name, the bound that was reserved, usage always asked for."""
    body = {**request.body, "model": route.upstream_model}
    if request.kind is not Kind.EMBEDDING and request.max_tokens is None:
        body.pop("max_completion_tokens", None)
        body["max_tokens"] = size.max_tokens
    if request.stream:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return orjson.dumps(body)


def tokenize_body(request: InferenceRequest, route: Route) -> bytes | None:
    """The question to the endpoint's ``/tokenize``; None where it cannot count the prompt."""
    document: dict[str, Any] = {"model": route.upstream_model}
    if request.kind is Kind.CHAT:
        document["messages"] = request.body["messages"]
        if request.body.get("tools"):
            document["tools"] = request.body["tools"]
    elif isinstance(request.body.get("prompt", request.body.get("input")), str):
        document["prompt"] = request.body.get("prompt", request.body.get("input"))
    else:
        return None
    return orjson.dumps(document)
