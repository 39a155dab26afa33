"""Reads a request's body without trusting its sender: a size limit, declared length or not, and a time-out."""

from __future__ import annotations

import asyncio

from pools.gateway.wire import Receive, bad_request
from portal.lib.errors import DomainError


class ClientGoneError(Exception):
    """The client closed its connection; there is nobody to answer."""


def too_large(limit: int) -> DomainError:
    """413, not to be retried."""
    return bad_request(
        f"The body exceeds {limit:,} bytes, the largest this gateway reads. Shorten the prompt.",
        code="request_too_large",
        status=413,
    )


async def read_body(receive: Receive, declared: bytes, limit: int, timeout_s: float) -> bytes:
    """The whole body. ``declared`` is the content-length header or b"".

    Raises DomainError 413 over ``limit`` bytes, 408 (told not to retry) when it takes longer than ``timeout_s``, and
    ClientGoneError.
    """
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    try:
        async with asyncio.timeout(timeout_s):
            return await _read(receive, limit)
    except TimeoutError:
        raise DomainError(
            "request_timeout",
            f"The body did not arrive within {timeout_s:g} s. Send it faster.",
            status=408,
            headers=[(b"connection", b"close")],
        ) from None


async def _read(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body", False):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)
