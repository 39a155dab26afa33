"""Reads a server-sent event stream as bytes, parsing only what it must.

Complete events are passed on as they came; the usage chunk is found by its key and taken out again when the client did
not ask for it. Events are counted as they pass, which is the fallback when an engine sends no usage.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

MAX_EVENT_BYTES = 4 * 1024 * 1024
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_BOUNDARY = re.compile(rb"\r?\n\r?\n")
_ERROR = re.compile(rb'(?:^|\n)data: ?\{\s*"error"')
_DONE = re.compile(rb"(?:^|\n)data: ?\[DONE\]")


class StreamMeter:
    """Feed it the pieces of a stream; it returns what to forward and remembers what was seen.

    ``usage`` is the engine's own count (a mapping) or None; ``events`` counts events; ``done`` is set by ``[DONE]``;
    ``failed`` by an error event of the engine.
    """

    __slots__ = ("_strip", "_tail", "done", "events", "failed", "usage")

    def __init__(self, *, strip_usage: bool) -> None:
        self._strip = strip_usage
        self._tail = b""
        self.events = 0
        self.usage: dict[str, Any] | None = None
        self.done = False
        self.failed = False

    def feed(self, piece: bytes) -> bytes:
        """The bytes to forward now: every event that is complete. Raises ValueError for an event beyond 4 MiB."""
        data = self._tail + piece if self._tail else piece
        if data.endswith((b"\n\n", b"\r\n\r\n")):
            self._tail = b""
        else:
            end = max(data.rfind(b"\n\n") + 2, data.rfind(b"\r\n\r\n") + 4)
            end = end if end > 3 else (2 if data.startswith(b"\n\n") else 0)
            data, self._tail = data[:end], data[end:]
            if len(self._tail) > MAX_EVENT_BYTES:
                raise ValueError("an event of the stream is too long")
            if not data:
                return b""
        return self._see(data)

    def flush(self) -> bytes:
        """What is left when the stream ends inside an event."""
        data, self._tail = self._tail, b""
        return self._see(data) if data else b""

    def counted_tokens(self, choices: int, *, chat: bool) -> int:
        """Output tokens by counting events: one each, less the chat format's opening event per choice."""
        return max(0, self.events - (choices if chat else 0))

    def _see(self, data: bytes) -> bytes:
        self.events += data.count(b"\n\n") or data.count(b"\r\n\r\n")
        if b"[DONE]" in data and _DONE.search(data):
            self.done = True
            self.events -= 1
        if b'"usage"' in data and _USAGE.search(data):
            data = self._take_usage(data)
        if b'"error"' in data and _ERROR.search(data):
            self.failed = True
        return data

    def _take_usage(self, data: bytes) -> bytes:
        kept: list[bytes] = []
        start = 0
        for boundary in _BOUNDARY.finditer(data):
            event, start = data[start : boundary.end()], boundary.end()
            if self._is_bare_usage(event):
                self.events -= 1
                if self._strip:
                    continue
            kept.append(event)
        kept.append(data[start:])
        return b"".join(kept)

    def _is_bare_usage(self, event: bytes) -> bool:
        """Notes the usage an event carries; True when it carries nothing else."""
        if not _USAGE.search(event):
            return False
        try:
            document = orjson.loads(event.partition(b"data:")[2])
        except orjson.JSONDecodeError:
            return False
        usage = document.get("usage") if isinstance(document, dict) else None
        if not isinstance(usage, dict):
            return False
        self.usage = usage
        return not document.get("choices")
