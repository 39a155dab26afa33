"""An endpoint on a real socket that behaves as badly as a test asks; ``behaviours`` are taken one per request."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


class Endpoint:
    """``seen``: bodies; ``aborted`` is set when a client hangs up before the end; ``step`` releases one event of a
    ``paced`` stream, ``free`` all of them."""

    def __init__(self) -> None:
        self.behaviours: deque[str] = deque()
        self.default = "ok"
        self.seen: list[dict[str, Any]] = []
        self.heads: list[bytes] = []
        self.steps = asyncio.Semaphore(0)
        self.free = asyncio.Event()
        self.arrived = asyncio.Event()
        self.aborted = asyncio.Event()
        self.events = 5
        self.connections = 0

    async def start(self) -> Endpoint:
        self.server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def stop(self) -> None:
        self.let_go()
        self.server.close()

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.steps.release()

    def let_go(self) -> None:
        """Nothing waits any more."""
        self.free.set()
        self.step(1000)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                self.heads.append(head)
                self.seen.append(body)
                self.arrived.set()
                behaviour = self.behaviours.popleft() if self.behaviours else self.default
                serving = asyncio.create_task(getattr(self, "_" + behaviour)(writer, body))
                watching = asyncio.create_task(reader.read(1))
                await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done() and not serving.done():
                    self.aborted.set()
                    serving.cancel()
                    return
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                if serving.result():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    # -- behaviours: each returns True to close the connection ---------------------------------------------------

    async def _ok(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        if body.get("stream"):
            return await self._stream(writer, body)
        return self._json(writer, 200, answer(body))

    async def _no_usage(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        return await self._stream(writer, body, usage=False)

    async def _paced(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        return await self._stream(writer, body, paced=True)

    async def _opened(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        """One event at once, the others paced."""
        return await self._stream(writer, body, paced=True, at_once=1)

    async def _held(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        """A JSON answer that waits for ``free``."""
        await self.free.wait()
        return self._json(writer, 200, answer(body))

    async def _dies_midstream(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        return await self._stream(writer, body, die_after=3)

    async def _dies_after_head(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        return await self._stream(writer, body, die_after=0)

    async def _dies(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        return True

    async def _error_event(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        self._head(writer)
        self._event(writer, delta("one"))
        self._event(writer, {"error": {"message": "out of memory", "type": "internal", "param": None, "code": 500}})
        writer.write(b"0\r\n\r\n")
        return False

    async def _garbage(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        writer.write(b"this is not HTTP\r\n\r\n")
        return True

    async def _hangs(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        await asyncio.Event().wait()
        return True

    async def _status_500(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        return self._json(writer, 500, {"error": {"message": "boom"}})

    async def _status_400(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        message = "This model's maximum context length is 8192 tokens."
        return self._json(writer, 400, {"object": "error", "message": message, "type": "BadRequestError", "code": 400})

    async def _status_401(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        return self._json(writer, 401, {"error": "who are you, 10.0.0.7?"})

    async def _firehose(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        """Events as large and as fast as the reader takes them, for ever."""
        self._head(writer)
        while True:
            self._event(writer, delta("x" * 60_000))
            await writer.drain()

    # -- parts ---------------------------------------------------------------------------------------------------

    async def _stream(
        self,
        writer: asyncio.StreamWriter,
        body: dict[str, Any],
        *,
        usage: bool = True,
        paced: bool = False,
        at_once: int = 0,
        die_after: int = -1,
    ) -> bool:
        self._head(writer)
        for index in range(self.events):
            if index == die_after:
                await writer.drain()
                return True
            if paced and index >= at_once and not self.free.is_set():
                await self.steps.acquire()
            self._event(writer, delta(f"word{index} "))
            await writer.drain()
        if usage and body.get("stream_options", {}).get("include_usage"):
            self._event(writer, {"object": "chat.completion.chunk", "choices": [], "usage": USAGE})
        data = b"data: [DONE]\n\n"
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
        return False

    def _head(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    def _event(self, writer: asyncio.StreamWriter, document: dict[str, Any]) -> None:
        data = b"data: " + json.dumps(document).encode() + b"\n\n"
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _json(self, writer: asyncio.StreamWriter, status: int, document: dict[str, Any]) -> bool:
        data = json.dumps(document).encode()
        writer.write(
            b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (status, len(data), data)
        )
        return False


def delta(text: str) -> dict[str, Any]:
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "sim",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}],
    }


def answer(body: dict[str, Any]) -> dict[str, Any]:
    if "input" in body:
        data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
        return {"object": "list", "data": data, "model": "sim", "usage": {"prompt_tokens": 11, "total_tokens": 11}}
    if "prompt" in body:
        choices: list[dict[str, Any]] = [{"index": 0, "text": "Hello.", "finish_reason": "stop"}]
        return {
            "id": "c1",
            "object": "text_completion",
            "created": 1,
            "model": "sim",
            "choices": choices,
            "usage": USAGE,
        }
    choices = [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}]
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "sim", "choices": choices, "usage": USAGE}
