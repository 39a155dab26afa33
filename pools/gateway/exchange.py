"""One HTTP/1.1 connection to an endpoint and the exchange that runs on it, on httptools' parser.

Small on purpose: POST with a body, keep-alive, chunked or counted or until-close answers, one timer per exchange.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools

HIGH_WATER_BYTES = 262_144
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade"})


class UpstreamError(Exception):
    """The endpoint did not answer as HTTP should. ``kind`` is connect, timeout, closed, protocol, cut or too_large.

    ``started`` says whether any byte of an answer had been seen: only before that may another endpoint be tried.
    """

    def __init__(self, kind: str, sentence: str, *, started: bool = False) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.started = started


class Exchange(asyncio.Protocol):
    """A connection; while it is out of the pool, also the one exchange running on it.

    ``begin`` writes the request and returns when the answer's headers are there; ``piece`` returns the next bytes of
    the body (b"" at its end); ``cut`` ends it from any other task, which then sees UpstreamError ``cut``.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = self._idle_s = 0.0
        self._write_waiter: asyncio.Future[None] | None = None
        self.idle_since = 0.0
        self.served = 0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._seen_byte = self._headers_done = self.complete = self._framed = self._reading_paused = False
        self._reusable = True
        self.failure: UpstreamError | None = None

    # -- what a caller uses ------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether another exchange may run on this connection."""
        transport = self._transport
        return (
            transport is not None
            and not transport.is_closing()
            and self.failure is None
            and ((self.complete and self._reusable) or self.served == 0)
        )

    async def begin(self, request: bytes, first_byte_s: float, idle_s: float) -> None:
        """Writes ``request`` and waits for the answer's head. Raises UpstreamError."""
        if self.served:
            self._reset()
        self.served += 1
        assert self._transport is not None
        self._idle_s = idle_s
        self._deadline = self._loop.time() + first_byte_s
        self._timer = self._loop.call_at(self._deadline, self._on_timer)
        self._transport.write(request)
        while not self._headers_done:
            await self._wait()

    async def piece(self) -> bytes:
        """Everything of the body that has arrived since the last call; waits when that is nothing; b"" at the end."""
        while not self._pieces:
            if self.complete:
                return b""
            await self._wait()
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self._buffered = 0
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    async def read(self, limit: int) -> bytes:
        """The whole body, at most ``limit`` bytes (UpstreamError ``too_large`` beyond)."""
        data = await self.piece()
        if self.complete and not self._pieces:
            return data
        parts, size = [data], len(data)
        while data := await self.piece():
            size += len(data)
            if size > limit:
                raise UpstreamError("too_large", f"the endpoint's answer exceeds {limit} bytes", started=True)
            parts.append(data)
        return b"".join(parts)

    def cut(self) -> None:
        """Ends the exchange now; whoever waits on it sees UpstreamError ``cut``."""
        self._fail("cut", "the exchange was ended by the gateway")

    def finish(self) -> None:
        """Stops the timer; called when the exchange is over, however it ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        """Closes the connection at once, which is how an engine learns that nobody listens any more."""
        self.finish()
        if self._transport is not None:
            self._transport.abort()

    # -- waiting -----------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        if self.failure is not None:
            raise self.failure
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        failure: UpstreamError | None = self.failure  # set while it waited
        if failure is not None and not self._pieces:
            raise failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, kind: str, sentence: str) -> None:
        if self.failure is None and not self.complete:
            self.failure = UpstreamError(kind, sentence, started=self._seen_byte)
            self._wake()
            if self._transport is not None:
                self._transport.abort()

    def _on_timer(self) -> None:
        self._timer = None
        if self.complete:
            return
        if self._reading_paused:  # the client is slow, not the endpoint
            self._deadline = self._loop.time() + self._idle_s
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
            return
        what = "sent nothing more" if self._seen_byte else "did not begin to answer"
        self._fail("timeout", f"the endpoint {what} in time")

    # -- asyncio and httptools call these ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream transport, by create_connection

    def connection_lost(self, error: Exception | None) -> None:
        if self._headers_done and not self._framed and not self.complete and error is None:
            self.on_message_complete()  # an answer without a length ends with its connection
        self._reusable = False
        self._fail("closed", "the endpoint closed the connection")
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._seen_byte = True
        self._deadline = self._loop.time() + self._idle_s
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("protocol", "the endpoint's answer is not HTTP/1.1")
        if self._buffered > HIGH_WATER_BYTES and self._transport is not None and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value.lower()):
            self._framed = True
        if name not in _HOP_BY_HOP:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status >= 200:  # 1xx is followed by the real head
            self._headers_done = True
            self._reusable = self._parser.should_keep_alive()
            self._wake()
        else:
            self.headers = []

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._buffered += len(body)
        self._wake()

    def on_message_complete(self) -> None:
        if self._headers_done:
            self.complete = True
            self._wake()

    def header(self, name: bytes) -> bytes:
        """The first value of a header (lower-case name), or b""."""
        for key, value in self.headers:
            if key == name:
                return value
        return b""


def new_exchange(loop: asyncio.AbstractEventLoop) -> Any:
    """A factory for ``create_connection``."""
    return lambda: Exchange(loop)
