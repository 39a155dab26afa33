"""Read an OpenAI answer and time its tokens."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import orjson


class BrokenError(Exception):
    """An answer that had begun ended with an error event, or without its end mark."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class StreamReader:
    """The tokens of one answer: seconds to the first since ``started``, gaps between them, and the usage counts.

    Several tokens in one read share the time since the read before. After ``abandon_after`` tokens (0: never) it
    stops, as a person does who closes the page.
    """

    def __init__(self, started: float, abandon_after: int = 0) -> None:
        self.ttft_s: float | None = None
        self.gaps_s: list[float] = []
        self.input_tokens = self.output_tokens = 0
        self.abandoned = False
        self._started = started
        self._abandon_after = abandon_after
        self._last = started
        self._seen = 0
        self._done = False

    async def follow(self, content: aiohttp.StreamReader) -> None:
        """Reads server-sent events to the end mark. Raises BrokenError."""
        rest = b""
        async for data in content.iter_any():
            *events, rest = (rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
            self._take(events)
            if self._done or self.abandoned:
                return
        raise BrokenError("cut_stream")

    def whole(self, body: bytes) -> None:
        """An answer that did not stream: only its usage is known. Raises BrokenError."""
        try:
            self._usage(orjson.loads(body)["usage"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise BrokenError("bad_answer") from error

    def _take(self, events: list[bytes]) -> None:
        fresh = 0
        try:
            for event in events:
                if event.startswith(b"data: [DONE]"):
                    self._done = True
                elif event.startswith(b"data:"):
                    fresh += self._event(event[5:])
        finally:
            if fresh:
                self._tokens(fresh, time.monotonic())
        if 0 < self._abandon_after <= self._seen and not self._done:
            self.abandoned = True

    def _event(self, data: bytes) -> int:
        """Tokens (0 or 1) in one event."""
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise BrokenError("bad_answer") from error
        if "error" in event:
            raise BrokenError(str(event["error"].get("code") or "error"))
        if event.get("usage"):
            self._usage(event["usage"])
        return any("role" not in (choice.get("delta") or {}) and _text(choice) for choice in event.get("choices", ()))

    def _tokens(self, count: int, now: float) -> None:
        if self.ttft_s is None:
            self.ttft_s = now - self._started
        else:
            self.gaps_s += [(now - self._last) / count] * count
        self._last = now
        self._seen += count
        self.output_tokens = max(self.output_tokens, self._seen)

    def _usage(self, usage: dict[str, Any]) -> None:
        self.input_tokens = int(usage.get("prompt_tokens", 0))
        self.output_tokens = int(usage.get("completion_tokens", 0))


def _text(choice: dict[str, Any]) -> bool:
    return bool((choice.get("delta") or {}).get("content") or choice.get("text"))
