"""A load generator that costs less than what it measures: raw HTTP/1.1 on httptools and uvloop, keep-alive."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import httptools
import orjson
import uvloop

_MOMENT = re.compile(rb'"t":([0-9.]+)')


@dataclass(slots=True)
class Load:
    """What one run saw: seconds it took, latencies of whole requests, lags of single events, failures."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    failures: int = 0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0


def request(port: int, key: str, *, stream: bool, pause_ms: int = 0) -> bytes:
    """The bytes of one chat request."""
    document: dict[str, object] = {
        "model": "fixed",
        "messages": [{"role": "user", "content": "Say hello in a friendly way, please."}],
        "max_tokens": 64,
    }
    if stream:
        document["stream"] = True
    if pause_ms:
        document["top_k"] = pause_ms
    body = orjson.dumps(document)
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nauthorization: Bearer %b\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (port, key.encode(), len(body), body)
    )


class _Client(asyncio.Protocol):
    def __init__(self, load: Load, wanted: bytes, until: float, done: asyncio.Future[None]) -> None:
        self.load, self.wanted, self.until, self.done = load, wanted, until, done
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.load.failures += 1
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self.load.lags.extend(now - float(moment) for moment in _MOMENT.findall(data))
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        if self.parser.get_status_code() != 200:
            self.load.failures += 1
        else:
            self.load.latencies.append(now - self.began)
        if now < self.until:
            self._send()
        elif not self.done.done():
            self.done.set_result(None)
            self.transport.close()

    def _send(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.wanted)


async def _run(port: int, wanted: bytes, in_flight: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    load = Load()
    began = time.perf_counter()
    waits = []
    for _ in range(in_flight):
        done = loop.create_future()
        waits.append(done)
        client = functools.partial(_Client, load, wanted, began + seconds, done)
        await loop.create_connection(client, "127.0.0.1", port)
    await asyncio.gather(*waits)
    load.seconds = time.perf_counter() - began
    return load


def run(port: int, wanted: bytes, in_flight: int, seconds: float) -> Load:
    """Keeps ``in_flight`` requests going for ``seconds``."""
    return uvloop.run(_run(port, wanted, in_flight, seconds))


def cpu_seconds(pid: int) -> float:
    """User and system time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
