"""Send one request as an OpenAI client would, wait as told, try again a few times, and say how it went.

Waiting and retrying follow the official client: ``x-should-retry`` decides, else 408, 429 and 5xx; ``retry-after-ms``
is read before ``Retry-After``; without either the wait doubles from half a second.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum

import aiohttp
import orjson

from pools.simulator.prompts import prompt
from pools.simulator.senders import Order
from pools.simulator.streams import BrokenError, StreamReader
from pools.simulator.wire import LENGTH_FIELD

RETRIED_STATUS = frozenset({408, 429})
LONGEST_WAIT_S = 60.0
CONNECT_S, SILENCE_S = 5.0, 180.0


class Ending(StrEnum):
    """How an order ended for its client."""

    COMPLETED = "completed"
    REFUSED = "refused"
    PREEMPTED = "preempted"
    ABANDONED = "abandoned"
    FAILED = "failed"
    UNFINISHED = "unfinished"


@dataclass(slots=True)
class Answer:
    """What the client saw. Times in seconds; ``ttft_s`` from the admitted attempt, ``total_s`` from the first one.

    ``code`` is the last error code; ``refusals`` are the codes of every attempt that was not let in.
    """

    ending: Ending = Ending.FAILED
    code: str = ""
    admitted: bool = False
    refusals: list[str] = field(default_factory=list)
    attempts: int = 0
    ttft_s: float | None = None
    total_s: float = 0.0
    gaps_s: list[float] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Retries:
    """At most ``count`` more attempts; a wait above ``longest_s`` is not waited for: the client gives up."""

    count: int = 2
    longest_s: float = LONGEST_WAIT_S
    first_s: float = 0.5


class RefusedError(Exception):
    """One attempt was not let in: code, whether to try again, seconds to wait (None: the client chooses).

    ``failed`` says that nobody decided so: the gateway is away or broke.
    """

    def __init__(self, code: str, retry: bool, wait_s: float | None, *, failed: bool = False) -> None:
        super().__init__(code)
        self.code, self.retry, self.wait_s, self.failed = code, retry, wait_s, failed


class Caller:
    """Sends orders to one gateway. ``slots`` bounds the attempts in flight; waiting for a retry holds none."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        slots: AbstractAsyncContextManager[object],
        retries: Retries,
        bytes_per_token: float,
    ) -> None:
        self._session = session
        self._url = url.rstrip("/") + "/v1/chat/completions"
        self._slots = slots
        self._retries = retries
        self._bytes_per_token = bytes_per_token
        self._sent = 0

    async def call(self, order: Order, answer: Answer | None = None) -> Answer:
        """Sends one order to its end. ``answer`` is filled as it goes, so that a cancelled call is not lost."""
        answer = Answer() if answer is None else answer
        body, started = self._body(order), time.monotonic()
        while True:
            answer.attempts += 1
            try:
                async with self._slots:
                    await self._attempt(order, body, answer)
                break
            except RefusedError as refused:
                answer.code = refused.code
                answer.ending = Ending.FAILED if refused.failed else Ending.REFUSED
                answer.refusals.append(refused.code)
                wait_s = self._wait(refused, answer.attempts)
                if wait_s is None:
                    break
            await asyncio.sleep(wait_s)
        answer.total_s = time.monotonic() - started
        return answer

    async def _attempt(self, order: Order, body: bytes, answer: Answer) -> None:
        headers = {"authorization": f"Bearer {order.sender.key}", "content-type": "application/json"}
        started = time.monotonic()
        try:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                if response.status != 200:
                    raise refused_by(response.status, response.headers, await response.read())
                answer.admitted, answer.code = True, ""
                reader = StreamReader(started, order.abandon_after)
                try:
                    if order.stream:
                        await reader.follow(response.content)
                    else:
                        reader.whole(await response.read())
                finally:
                    answer.ttft_s, answer.gaps_s = reader.ttft_s, reader.gaps_s
                    answer.input_tokens, answer.output_tokens = reader.input_tokens, reader.output_tokens
                answer.ending = Ending.ABANDONED if reader.abandoned else Ending.COMPLETED
        except BrokenError as broken:
            answer.code = broken.code
            answer.ending = Ending.PREEMPTED if broken.code == "preempted" else Ending.FAILED
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if answer.admitted:
                answer.code, answer.ending = "broken_stream", Ending.FAILED
                return
            code = "timeout" if isinstance(error, TimeoutError) else "unreachable"
            raise RefusedError(code, True, None, failed=True) from error

    def _wait(self, refused: RefusedError, attempts: int) -> float | None:
        if not refused.retry or attempts > self._retries.count:
            return None
        if refused.wait_s is not None:
            return None if refused.wait_s > self._retries.longest_s else refused.wait_s
        return min(self._retries.first_s * 2.0 ** (attempts - 1), 8.0) * random.uniform(0.75, 1.0)

    def _body(self, order: Order) -> bytes:
        self._sent += 1
        text = prompt(order.input_tokens, self._sent, order.prefix, self._bytes_per_token)
        body = {
            "model": order.sender.model,
            "messages": [{"role": "user", "content": text}],
            LENGTH_FIELD: max(1, order.output_tokens),
        }
        if order.max_tokens is not None:
            body["max_tokens"] = order.max_tokens
        if order.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return orjson.dumps(body)


def open_session() -> aiohttp.ClientSession:
    """A session without a limit of connections: the slots are the limit."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)


def refused_by(status: int, headers: Mapping[str, str], body: bytes) -> RefusedError:
    """What an error answer tells a client."""
    try:
        code = str(orjson.loads(body)["error"]["code"] or status)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        code = f"http_{status}"
    told = headers.get("x-should-retry")
    retry = told == "true" if told in {"true", "false"} else status in RETRIED_STATUS or status >= 500
    wait_s = _seconds(headers.get("retry-after-ms"), 1000.0)
    if wait_s is None:
        wait_s = _seconds(headers.get("retry-after"), 1.0)
    return RefusedError(code, retry, wait_s, failed=status >= 500 and status != 503)


def _seconds(text: str | None, per_second: float) -> float | None:
    try:
        return None if text is None else max(0.0, float(text)) / per_second
    except ValueError:
        return None
