"""Sends webhooks: many at once, each within a bounded time; follows no redirect, reads a bounded part of the answer.

The name is looked up here and the connection goes to the address that was checked: a name that points elsewhere a
moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from pools.senders.targets import is_public, literal_address, url_problem

TIMEOUT_S = 10.0
CONNECT_S = 4.0
LARGEST_ANSWER = 4096
SHOWN = 300
AT_ONCE = 10
GONE = 410


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message: where to, its body and its headers."""

    url: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one try. ``final``: trying again cannot help. ``text`` is what pages show."""

    ok: bool
    text: str
    status: int | None = None
    took_ms: int = 0
    final: bool = False
    retry_after_s: float = 0.0


class _RefusedError(Exception):
    """The name leads to an address that webhooks may not reach."""


class _PublicResolver(AbstractResolver):
    """Looks a name up and gives only addresses that may be reached."""

    def __init__(self, private: bool) -> None:
        self._private = private
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises :class:`_RefusedError` when any of the name's addresses is not public: a mixture is a trick."""
        found = await self._inner.resolve(host, port, family)
        for one in found:
            address = literal_address(one["host"].partition("%")[0])
            if not self._private and (address is None or not is_public(address)):
                raise _RefusedError(f"{host} leads to {one['host']}, a private or local address; nothing was sent.")
        return found

    async def close(self) -> None:
        """Nothing is held."""
        await self._inner.close()


def send_all(messages: Sequence[Outgoing], *, private: bool, timeout_s: float = TIMEOUT_S) -> list[Answer]:
    """One try of each, at most ten at once; never raises for a receiver. ``private`` allows addresses of one's own
    network. Call it from a thread without a running event loop."""
    return asyncio.run(_send_all(messages, private, timeout_s)) if messages else []


async def _send_all(messages: Sequence[Outgoing], private: bool, timeout_s: float) -> list[Answer]:
    connector = aiohttp.TCPConnector(resolver=_PublicResolver(private), limit=AT_ONCE, use_dns_cache=False)
    limits = aiohttp.ClientTimeout(total=timeout_s, connect=min(CONNECT_S, timeout_s))
    async with aiohttp.ClientSession(
        connector=connector, timeout=limits, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    ) as session:
        return list(await asyncio.gather(*(_send(session, message, private, timeout_s) for message in messages)))


async def _send(session: aiohttp.ClientSession, message: Outgoing, private: bool, timeout_s: float) -> Answer:
    if problem := url_problem(message.url, private=private):
        return Answer(False, problem, final=True)
    began = time.monotonic()

    def took() -> int:
        return round((time.monotonic() - began) * 1000)

    try:
        async with asyncio.timeout(timeout_s):
            async with session.post(
                message.url, data=message.body, headers=message.headers, allow_redirects=False
            ) as answer:
                text = (await answer.content.read(LARGEST_ANSWER)).decode("utf-8", "replace")
                return judged(answer.status, text, answer.headers.get("Retry-After", ""), took())
    except TimeoutError:
        return Answer(False, f"No answer within {timeout_s:g} s.", took_ms=took())
    except _RefusedError as error:
        return Answer(False, str(error), took_ms=took(), final=True)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        refused = _cause(error, _RefusedError)
        if refused is not None:
            return Answer(False, str(refused), took_ms=took(), final=True)
        return Answer(False, f"{_name(error)}: {error}"[:SHOWN], took_ms=took())


def judged(status: int, text: str, retry_after: str, took_ms: int) -> Answer:
    """What an answer means: 2xx took it, 410 wants no more, redirects are not followed, the rest is tried again."""
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    said = f"{status} {shown}".strip()[:SHOWN]
    if 200 <= status < 300:
        return Answer(True, said, status, took_ms)
    if 300 <= status < 400:
        return Answer(False, f"{status}: redirects are not followed; write the final address.", status, took_ms, True)
    return Answer(False, said, status, took_ms, status == GONE, _seconds(retry_after))


def _seconds(retry_after: str) -> float:
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:6])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time()) if text else 0.0
    except (ValueError, TypeError):
        return 0.0


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    seen: Any = error
    while seen is not None:
        if isinstance(seen, kind):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _name(error: BaseException) -> str:
    return {"ClientConnectorError": "No connection", "ClientConnectorDNSError": "No such host"}.get(
        type(error).__name__, type(error).__name__
    )
