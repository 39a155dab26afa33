"""Gathers what is written to a client in one turn of the event loop into one system call.

uvicorn writes the head and the body of an answer apart; a call costs about a fifth of a whole request here.
"""

from __future__ import annotations

import asyncio
from typing import Any


class CorkedTransport:
    """Stands before a transport; everything but ``write`` and ``close`` goes straight through."""

    __slots__ = ("_loop", "_parts", "_transport", "abort", "get_extra_info", "is_closing", "pause_reading",
                 "resume_reading", "set_protocol")  # fmt: skip

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self.abort = transport.abort
        self.get_extra_info: Any = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.set_protocol = transport.set_protocol

    def write(self, data: bytes) -> None:
        """Written at the end of this turn of the loop."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Writes what is left, then closes."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts = self._parts
        if parts:
            self._parts = []
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
