"""One connection to the store: asyncio, RESP, replies in order, everything written in one loop tick sent at once.

No task and no timer per command: a watchdog looks at the oldest unanswered write a few times per time-out, and a late
one breaks the connection, which fails everything in flight. Reconnects with growing pauses until it is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import hiredis
from redis.connection import SSLConnection, parse_url

from pools.counters.types import CounterUnavailable

Handler = Callable[[Any], None]
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 1.0
_IN_URL = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the store is and how to introduce oneself."""

    host: str = "localhost"
    port: int = 6379
    path: str = ""
    username: str = ""
    password: str = ""
    db: int = 0
    tls: ssl.SSLContext | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """From ``redis://``, ``rediss://`` or ``unix://`` as redis-py reads them; raises ValueError for another."""
        parts: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
        tls = None
        if parts.get("connection_class") is SSLConnection:
            tls = ssl.create_default_context(cafile=parts.get("ssl_ca_certs"))
            hostname = parts.get("ssl_check_hostname", True)
            tls.check_hostname = _IN_URL.get(str(hostname).lower(), True)
            if parts.get("ssl_cert_reqs") in ("none", "CERT_NONE"):
                tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
            if parts.get("ssl_certfile"):
                tls.load_cert_chain(parts["ssl_certfile"], parts.get("ssl_keyfile"))
        return cls(
            host=parts.get("host", "localhost"),
            port=int(parts.get("port", 6379)),
            path=parts.get("path", ""),
            username=parts.get("username", ""),
            password=parts.get("password", ""),
            db=int(parts.get("db", 0)),
            tls=tls,
        )


def encode(*words: bytes | str | int) -> bytes:
    """One command as a RESP array."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


class _Wire(asyncio.Protocol):
    """Bytes in, replies out."""

    def __init__(self, owner: Connection) -> None:
        self.owner = owner
        self.reader = hiredis.Reader(notEnoughData=...)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        gets, on_reply = self.reader.gets, self.owner.on_reply
        try:
            reply = gets()
            while reply is not ...:
                on_reply(reply)
                reply = gets()
        except hiredis.ProtocolError as error:
            self.owner.broken(self, f"the store answered nonsense: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.owner.broken(self, f"the connection to the store was lost ({exc or 'closed by it'})")


class Connection:
    """A connection that heals itself. ``greet`` runs after every connect, before others may send."""

    def __init__(
        self,
        address: Address,
        *,
        command_timeout_s: float,
        connect_timeout_s: float,
        greet: Callable[[Connection], Awaitable[None]] | None = None,
        on_push: Handler | None = None,
    ) -> None:
        self.address = address
        self.command_timeout_s = command_timeout_s
        self.connect_timeout_s = connect_timeout_s
        self._greet = greet
        self._on_push = on_push
        self._wire: _Wire | None = None
        self._waiting: deque[Handler] = deque()
        self._marks: deque[tuple[int, float]] = deque()
        self._sent = self._answered = 0
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._ready = False
        self._closed = False
        self._reconnecting: asyncio.Task[None] | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self.reason = "not connected yet"
        self.connects = 0

    @property
    def ready(self) -> bool:
        """Connected and greeted."""
        return self._ready

    async def connect(self) -> None:
        """Connect and greet once; raises CounterUnavailable, or what ``greet`` raises."""
        where = self.address
        wire = _Wire(self)
        try:
            async with asyncio.timeout(self.connect_timeout_s):
                if where.path:
                    await self._loop.create_unix_connection(lambda: wire, where.path)
                else:
                    await self._loop.create_connection(lambda: wire, where.host, where.port, ssl=where.tls)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            self.reason = (
                f"cannot connect to the store at {where.path or f'{where.host}:{where.port}'}: {error or 'timed out'}"
            )
            raise CounterUnavailable(self.reason) from None
        self._wire = wire
        try:
            await self._introduce()
            if self._greet is not None:
                await self._greet(self)
        except BaseException:
            self._drop(wire, "the store did not accept this process")
            raise
        self._ready = True
        self.connects += 1
        if self._watchdog is None:
            self._watch()

    async def _introduce(self) -> None:
        where = self.address
        words: list[tuple[str | int, ...]] = []
        if where.password:
            words.append(("AUTH", where.username, where.password) if where.username else ("AUTH", where.password))
        if where.db:
            words.append(("SELECT", where.db))
        for command in words:
            reply = await self.ask(encode(*command))
            if isinstance(reply, hiredis.ReplyError):
                self.reason = f"the store refused {command[0]}: {reply}"
                raise CounterUnavailable(self.reason)

    async def ask(self, command: bytes) -> Any:
        """Send one command and await its reply (a hiredis.ReplyError is returned, not raised). For set-up and
        documents."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self.send(command, lambda reply: _finish(future, reply))
        try:
            async with asyncio.timeout(max(self.command_timeout_s, self.connect_timeout_s)):
                return await future
        except TimeoutError:
            raise CounterUnavailable("the store did not answer in time") from None

    def send(self, command: bytes, handler: Handler) -> None:
        """Queue a command for the end of this loop tick. ``handler`` gets its reply, or a CounterUnavailable."""
        if self._wire is None:
            raise CounterUnavailable(self.reason)
        out = self._out
        if not out:
            self._loop.call_soon(self.flush)
        out.append(command)
        self._sent += 1
        self._waiting.append(handler)

    def write(self, command: bytes) -> None:
        """Send a command whose answers are pushes (SUBSCRIBE); dropped when not connected, greeting sends it again."""
        if self._wire is not None and self._wire.transport is not None:
            self._wire.transport.write(command)

    def flush(self) -> None:
        """Write what is queued now instead of at the end of the tick."""
        out, self._out = self._out, []
        wire = self._wire
        if not out or wire is None or wire.transport is None:
            return
        wire.transport.write(out[0] if len(out) == 1 else b"".join(out))
        self._marks.append((self._sent, self._loop.time()))

    def on_reply(self, reply: Any) -> None:
        if self._on_push is not None and type(reply) is list:
            self._on_push(reply)
            return
        self._answered += 1
        self._waiting.popleft()(reply)
        marks = self._marks
        while marks and marks[0][0] <= self._answered:
            marks.popleft()

    def _watch(self) -> None:
        if self._closed:
            return
        self._watchdog = self._loop.call_later(self.command_timeout_s / 4, self._watch)
        if self._marks and self._wire and self._loop.time() - self._marks[0][1] > self.command_timeout_s:
            self.broken(self._wire, f"the store did not answer within {self.command_timeout_s:g} s")

    def broken(self, wire: _Wire, reason: str) -> None:
        """Everything in flight fails; a new connection is sought in the background."""
        if wire is not self._wire:
            return
        was_ready = self._ready
        self._drop(wire, reason)
        if was_ready and not self._closed and self._reconnecting is None:
            self._reconnecting = self._loop.create_task(self._reconnect())

    def _drop(self, wire: _Wire, reason: str) -> None:
        self._wire, self._ready, self.reason = None, False, reason
        if wire.transport is not None:
            wire.transport.abort()
        waiting, self._waiting = self._waiting, deque()
        self._out.clear()
        self._marks.clear()
        self._sent = self._answered = 0
        for handler in waiting:
            handler(CounterUnavailable(reason))

    def retry_later(self) -> None:
        """Seek a connection in the background after a first connect that failed."""
        if self._wire is None and not self._closed and self._reconnecting is None:
            self._reconnecting = self._loop.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        pause = FIRST_PAUSE_S
        try:
            while not self._closed and not self._ready:
                try:
                    await self.connect()
                except Exception as error:
                    self.reason = str(error) or self.reason
                    await asyncio.sleep(pause)
                    pause = min(LONGEST_PAUSE_S, pause * 2)
        finally:
            self._reconnecting = None

    async def close(self) -> None:
        """Break the connection for good; what is in flight fails."""
        self._closed = True
        if self._watchdog is not None:
            self._watchdog.cancel()
        task = self._reconnecting
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._wire is not None:
            self._drop(self._wire, "the client was closed")


def _finish(future: asyncio.Future[Any], reply: Any) -> None:
    if future.done():
        return
    if isinstance(reply, CounterUnavailable):
        future.set_exception(reply)
    else:
        future.set_result(reply)
