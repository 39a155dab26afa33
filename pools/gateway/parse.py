"""From the bytes of a request to an InferenceRequest: checked, measured, nothing decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from pools.gateway import fields
from pools.gateway.wire import bad_request

MESSAGE_FRAME_BYTES = 12  # role and separators a chat template puts around each message
IMAGE_TOKENS = {"low": 85}  # published by OpenAI for its vision models; other details cost IMAGE_TOKENS_HIGH
IMAGE_TOKENS_HIGH = 765
MAX_PROMPTS = 2048
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


class Kind(Enum):
    """The inference path asked for."""

    CHAT = "/v1/chat/completions"
    COMPLETION = "/v1/completions"
    EMBEDDING = "/v1/embeddings"


@dataclass(slots=True)
class Prompt:
    """What a prompt is made of: bytes of text (estimated), tokens already known, sequences."""

    text_bytes: int = 0
    known_tokens: int = 0
    sequences: int = 1

    def add(self, text: str) -> None:
        self.text_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


@dataclass(slots=True)
class InferenceRequest:
    """One request as its sender meant it. ``max_tokens`` None: not given. ``choices`` counts per prompt."""

    kind: Kind
    model: str
    stream: bool
    wants_usage: bool
    max_tokens: int | None
    choices: int
    prompt: Prompt
    body: dict[str, Any]


def parse(kind: Kind, raw: bytes) -> InferenceRequest:
    """Parses and checks. Raises DomainError 400 with the field at fault in ``param``."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise bad_request(f"The body must be a JSON object, not {fields.json_type(body)}.", code="invalid_type")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise bad_request("model must be the name of a model, see /v1/models.", param="model", code="missing_model")
    if kind is Kind.EMBEDDING:
        fields.check(body, fields.EMBEDDING)
        return InferenceRequest(kind, model, False, False, 0, 1, _texts(body.get("input"), "input"), body)
    fields.check(body, fields.CHAT if kind is Kind.CHAT else fields.COMPLETION)
    stream = bool(body.get("stream"))
    prompt = _chat(body) if kind is Kind.CHAT else _texts(body.get("prompt"), "prompt")
    return InferenceRequest(
        kind=kind,
        model=model,
        stream=stream,
        wants_usage=_wants_usage(body, stream),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        choices=max(body.get("n") or 1, body.get("best_of") or 1) * prompt.sequences,
        prompt=prompt,
        body=body,
    )


def _wants_usage(body: dict[str, Any], stream: bool) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not stream:
        raise bad_request("stream_options is only allowed when stream is true.", param="stream_options")
    return bool(options.get("include_usage"))


def _texts(value: Any, param: str) -> Prompt:
    """A prompt or input: a string, strings, token ids, or lists of token ids."""
    prompt = Prompt()
    if isinstance(value, str) and value:
        prompt.add(value)
        return prompt
    if not isinstance(value, list) or not value:
        raise bad_request(
            f"{param} must be a non-empty string, or a non-empty array of strings or of token ids.",
            param=param,
            code="invalid_type",
        )
    if all(type(item) is int for item in value):
        prompt.known_tokens = len(value)
        return prompt
    if len(value) > MAX_PROMPTS:
        raise bad_request(f"{param} holds {len(value)} prompts; at most {MAX_PROMPTS} are allowed.", param=param)
    prompt.sequences = len(value) if param == "prompt" else 1
    for item in value:
        if isinstance(item, str):
            prompt.add(item)
        elif isinstance(item, list) and all(type(token) is int for token in item):
            prompt.known_tokens += len(item)
        else:
            raise bad_request(
                f"{param} must hold strings or arrays of token ids, not {fields.json_type(item)}.",
                param=param,
                code="invalid_type",
            )
    return prompt


def _chat(body: dict[str, Any]) -> Prompt:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages must be a non-empty array.", param="messages", code="invalid_type")
    prompt = Prompt()
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            allowed = ", ".join(sorted(_ROLES))
            raise bad_request(f"{where} must be an object whose role is one of {allowed}.", param=where)
        prompt.text_bytes += MESSAGE_FRAME_BYTES
        content = message.get("content")
        if isinstance(content, str):
            prompt.add(content)
        elif isinstance(content, list):
            for part in content:
                _add_part(prompt, part, where)
        elif content is not None:
            raise bad_request(
                f"{where}.content must be a string or an array of parts, not {fields.json_type(content)}.",
                param=f"{where}.content",
                code="invalid_type",
            )
        if message.get("tool_calls"):
            prompt.text_bytes += len(orjson.dumps(message["tool_calls"]))
    for extra in ("tools", "functions", "response_format"):
        if body.get(extra):
            prompt.text_bytes += len(orjson.dumps(body[extra]))
    return prompt


def _add_part(prompt: Prompt, part: Any, where: str) -> None:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise bad_request(f"{where}.content must hold objects with a type.", param=f"{where}.content")
    if part["type"] == "image_url":
        image = part.get("image_url")
        detail = image.get("detail") if isinstance(image, dict) else None
        prompt.known_tokens += IMAGE_TOKENS.get(str(detail), IMAGE_TOKENS_HIGH)
    elif isinstance(part.get("text"), str):
        prompt.add(part["text"])
    else:
        prompt.text_bytes += len(orjson.dumps(part))
