"""What an OpenAI client reads: the error body with all four members, and every rate-limit header.

Every 4xx carries ``x-should-retry``: official clients retry 408, 409, 429 and 5xx by themselves unless told not to.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from portal.lib.errors import DomainError

Headers = list[tuple[bytes, bytes]]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = (b"content-type", b"application/json")
_SAFE_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    502: "upstream_error",
    503: "service_unavailable",
    504: "upstream_error",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the reserve result says of the entitlement: sequences and tokens allowed, left, and ms until whole again."""

    limit_requests: int
    remaining_requests: int
    reset_requests_ms: int
    limit_tokens: int
    remaining_tokens: int
    reset_tokens_ms: int
    window_s: int = 1


def bad_request(
    sentence: str, *, param: str | None = None, code: str = "invalid_value", status: int = 400
) -> DomainError:
    """A request no retry can help."""
    return DomainError(code, sentence, status=status, param=param)


def unavailable(sentence: str, *, code: str, status: int = 503, retry_after_ms: int = 1000) -> DomainError:
    """Not the client's fault and likely to pass."""
    return DomainError(code, sentence, status=status, retry_after_ms=retry_after_ms)


def error_document(error: DomainError) -> dict[str, Any]:
    """``{"error": {"message", "type", "param", "code"}}``; a refusal adds the dimension, use and limit that bind."""
    body: dict[str, Any] = {
        "message": error.sentence,
        "type": _TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error"),
        "param": error.details.get("param"),
        "code": error.code,
    }
    binding = error.details.get("binding")
    if binding:
        body["binding"] = binding
    return {"error": body}


def error_headers(error: DomainError) -> Headers:
    """Retry and rate-limit headers of an error."""
    headers: Headers = []
    wait_ms = error.details.get("retry_after_ms")
    if wait_ms is None:
        headers.append((b"x-should-retry", b"false"))
    else:
        headers.append((b"retry-after", b"%d" % max(1, -(-wait_ms // 1000))))
        headers.append((b"retry-after-ms", b"%d" % wait_ms))
        headers.append((b"x-should-retry", b"true"))
    limits = error.details.get("limits")
    if limits is not None:
        headers.extend(limit_headers(limits))
    headers.extend(error.details.get("headers", ()))
    return headers


def limit_headers(limits: Limits) -> Headers:
    """``x-ratelimit-*`` as OpenAI names them, and the IETF draft's ``RateLimit-Policy`` and ``RateLimit``."""
    tokens_s = -(-limits.reset_tokens_ms // 1000)
    requests_s = -(-limits.reset_requests_ms // 1000)
    return [
        (b"x-ratelimit-limit-requests", b"%d" % limits.limit_requests),
        (b"x-ratelimit-remaining-requests", b"%d" % limits.remaining_requests),
        (b"x-ratelimit-reset-requests", duration(limits.reset_requests_ms)),
        (b"x-ratelimit-limit-tokens", b"%d" % limits.limit_tokens),
        (b"x-ratelimit-remaining-tokens", b"%d" % limits.remaining_tokens),
        (b"x-ratelimit-reset-tokens", duration(limits.reset_tokens_ms)),
        (
            b"ratelimit-policy",
            b'"requests";q=%d, "tokens";q=%d;w=%d' % (limits.limit_requests, limits.limit_tokens, limits.window_s),
        ),
        (
            b"ratelimit",
            b'"requests";r=%d;t=%d, "tokens";r=%d;t=%d'
            % (limits.remaining_requests, requests_s, limits.remaining_tokens, tokens_s),
        ),
    ]


def duration(milliseconds: int) -> bytes:
    """Milliseconds as OpenAI writes them: 20ms, 1.5s, 6m0s."""
    if milliseconds < 1000:
        return b"%dms" % milliseconds
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.3g}s".encode()
    return b"%dm%ds" % divmod(round(seconds), 60)


def safe_id(text: bytes) -> str | None:
    """An id a client sent, when it is short and plain enough to be echoed and logged; else None."""
    decoded = text.decode("latin-1")
    return decoded if _SAFE_ID.fullmatch(decoded) else None


async def send_bytes(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """A whole answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, status: int, document: Any, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """A whole answer in JSON."""
    await send_bytes(send, status, orjson.dumps(document), [JSON, *headers])


async def send_error(send: Send, error: DomainError, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """The answer of a refused request."""
    await send_json(send, error.status, error_document(error), [*headers, *error_headers(error)])


def error_event(error: DomainError) -> bytes:
    """The same error as the last event of a stream that had already begun."""
    document = error_document(error)
    wait_ms = error.details.get("retry_after_ms")
    if wait_ms is not None:
        document["error"]["retry_after_ms"] = wait_ms
    return b"data: " + orjson.dumps(document) + b"\n\n"
