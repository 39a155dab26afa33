"""The OpenAI wire format: what is read from a request body, and every error a client can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from pools.simulator import words

IMAGE_TOKENS = 576
MESSAGE_TOKENS = 4
LARGEST_CHOICES = 128
LENGTH_HEADER = "x-simulated-output-tokens"
LENGTH_FIELD = "simulated_output_tokens"


class WireError(Exception):
    """A request that is answered with an error: HTTP status, sentence, and the parameter at fault."""

    def __init__(self, status: int, message: str, param: str | None = None, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.kind = status, message, param, kind

    def body(self) -> bytes:
        """The OpenAI-shaped error object."""
        return orjson.dumps(
            {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}}
        )


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt: its text (what answers and cache names depend on) and its tokens, images and tools included."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A parsed generation request. ``length`` is the hinted natural output length, None to draw one."""

    prompts: tuple[Prompt, ...]
    choices: int
    max_tokens: int | None
    min_tokens: int
    length: int | None
    ignore_eos: bool
    stops: tuple[str, ...]
    stream: bool
    include_usage: bool
    chat: bool


def read_body(data: bytes) -> dict[str, Any]:
    """The JSON object of a request. WireError 400 when it is none."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise WireError(400, f"The body is not valid JSON: {error}.") from error
    if not isinstance(body, dict):
        raise WireError(400, "The body must be a JSON object.")
    return body


def check_model(body: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """WireError 404 unless the body names a model this server has."""
    model = body.get("model", names[0])
    if model not in names:
        raise WireError(404, f"The model `{model}` does not exist.", "model", "NotFoundError")


def read_ask(body: Mapping[str, Any], headers: Mapping[str, str], *, chat: bool, bytes_per_token: float) -> Ask:
    """Check and read a chat or plain completion request. WireError 400 names what is wrong."""
    limit = whole(body, "max_completion_tokens", 1) if chat else None
    limit = whole(body, "max_tokens", 1) if limit is None else limit
    hint = whole(body, LENGTH_FIELD, 1)
    if hint is None and headers.get(LENGTH_HEADER, "").isdecimal():
        hint = max(1, int(headers[LENGTH_HEADER]))
    temperature = body.get("temperature")
    if temperature is not None and (isinstance(temperature, bool) or not isinstance(temperature, int | float)):
        raise WireError(400, "temperature must be a number.", "temperature")
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise WireError(400, "stream_options must be an object.", "stream_options")
    choices = whole(body, "n", 1) or 1
    if choices > LARGEST_CHOICES:
        raise WireError(400, f"n is {choices}; it must be at most {LARGEST_CHOICES}.", "n")
    return Ask(
        prompts=_chat_prompt(body, bytes_per_token) if chat else _plain_prompts(body, bytes_per_token),
        choices=choices,
        max_tokens=limit,
        min_tokens=whole(body, "min_tokens", 0) or 0,
        length=hint,
        ignore_eos=bool(body.get("ignore_eos", False)),
        stops=_stops(body.get("stop")),
        stream=bool(body.get("stream", False)),
        include_usage=bool(options.get("include_usage", False)),
        chat=chat,
    )


def whole(body: Mapping[str, Any], name: str, least: int) -> int | None:
    """A whole number of the body, None when absent or null. WireError 400 for anything else."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise WireError(400, f"{name} is {value!r}; it must be a whole number of at least {least}.", name)
    return value


def texts(value: Any, name: str, bytes_per_token: float) -> tuple[Prompt, ...]:
    """Prompts given as a text, token ids, or a list of either. WireError 400 for anything else."""
    if isinstance(value, str):
        return (Prompt(value, max(1, words.token_count(value, bytes_per_token))),)
    if isinstance(value, list) and value:
        if all(isinstance(item, int) for item in value):
            return (Prompt(",".join(map(str, value)), len(value)),)
        if all(isinstance(item, str | list) for item in value):
            return tuple(prompt for item in value for prompt in texts(item, name, bytes_per_token))
    raise WireError(400, f"{name} must be a text, a list of token ids, or a list of them.", name)


def _plain_prompts(body: Mapping[str, Any], bytes_per_token: float) -> tuple[Prompt, ...]:
    return texts(body.get("prompt"), "prompt", bytes_per_token)


def _chat_prompt(body: Mapping[str, Any], bytes_per_token: float) -> tuple[Prompt, ...]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise WireError(400, "messages must be a list of at least one message.", "messages")
    parts, extra = [], 0
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise WireError(400, "Every message must be an object with a role.", "messages")
        text, images = _content(message.get("content"))
        parts.append(f"<{message['role']}>{text}")
        extra += MESSAGE_TOKENS + IMAGE_TOKENS * images
        if message.get("tool_calls"):
            parts.append(orjson.dumps(message["tool_calls"]).decode())
    if body.get("tools"):
        parts.insert(0, orjson.dumps(body["tools"]).decode())
    text = "\n".join(parts)
    return (Prompt(text, words.token_count(text, bytes_per_token) + extra),)


def _content(content: Any) -> tuple[str, int]:
    """(text, images) of one message."""
    if content is None or isinstance(content, str):
        return content or "", 0
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise WireError(400, "content must be a text or a list of parts.", "messages")
    text = "".join(str(part.get("text", "")) for part in content)
    return text, sum("image" in str(part.get("type", "")) for part in content)


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise WireError(400, "stop must be a text or a list of texts.", "stop")
    return tuple(stop for stop in stops if stop)
