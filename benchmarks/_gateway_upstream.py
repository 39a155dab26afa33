"""A fixed-answer endpoint that costs almost nothing: what a gateway's own cost is measured against.

``python -m benchmarks._gateway_upstream raw|busy PORT``. ``busy`` computes for 160 µs per answer and 25 µs per event
before it writes, which makes it as fast as the endpoint the goals were set with (about 5,600 answers or 530 streams
per second of one core; engines' own servers are slower); ``raw`` computes nothing. A request whose body has
``"stream":true`` gets 64 events, each with the moment it was written (``"t"``), unpaced, or ``"top_k"`` milliseconds
apart; any other gets a small JSON answer.
"""

from __future__ import annotations

import asyncio
import sys
import time

import httptools
import orjson
import uvloop

CHUNKS = 64
_JSON = orjson.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "fixed",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    }
)
_JSON_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_JSON) + _JSON
_SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"fixed","choices":'
    b'[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"t":%.6f}\n\n'
)
_USAGE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"fixed","choices":[],'
    b'"usage":{"prompt_tokens":12,"completion_tokens":64,"total_tokens":76}}\n\n'
)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Fixed(asyncio.Protocol):
    """One connection."""

    busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""
        self.sent = 0
        self.pause_s = 0.0

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        if b'"stream":true' not in body:
            self._compute(160)
            self.transport.write(_JSON_ANSWER)
            return
        self.pause_s = (orjson.loads(body).get("top_k") or 0) / 1000
        self.sent = 0
        self.transport.write(_SSE_HEAD)
        self._next()

    def _compute(self, microseconds: float) -> None:
        until = time.perf_counter() + microseconds / 1e6
        while self.busy and time.perf_counter() < until:
            pass

    def _next(self) -> None:
        if self.transport.is_closing():
            return
        self.sent += 1
        self._compute(25)
        self.transport.write(_chunk(_EVENT % time.perf_counter()))
        loop = asyncio.get_running_loop()
        if self.sent == CHUNKS:
            self.transport.write(_chunk(_USAGE) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        elif self.pause_s:
            loop.call_later(self.pause_s, self._next)
        else:
            loop.call_soon(self._next)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Fixed, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    Fixed.busy = sys.argv[1] == "busy"
    uvloop.run(_serve(int(sys.argv[2])))
