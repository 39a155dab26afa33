"""Turn generated tokens into OpenAI answers: one JSON object, or server-sent events of one token each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from pools.simulator import words
from pools.simulator.driver import Ticket
from pools.simulator.wire import Ask

DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Choice:
    """One answer under way: its ticket, its seed, and the characters kept when a stop string cuts it."""

    index: int
    ticket: Ticket
    seed: int
    kept: int | None
    written: int = 0
    position: int = 0

    def text(self) -> str:
        """The whole answer so far."""
        return words.answer(self.seed, self.ticket.sequence.generated)[: self.kept]

    def pieces(self) -> Iterator[str]:
        """The texts of tokens generated and not yet written; a token wholly behind the stop has an empty text."""
        while self.written < self.ticket.sequence.generated:
            piece = words.word(self.seed, self.written)
            room = len(piece) if self.kept is None else max(0, self.kept - self.position)
            self.written += 1
            self.position += len(piece)
            yield piece[:room]


@dataclass(slots=True)
class Answer:
    """All choices of one request, and how they are written."""

    name: str
    model: str
    created: int
    ask: Ask
    choices: list[Choice] = field(default_factory=list)

    def usage(self) -> dict[str, Any]:
        """Token counts of the whole request; the prompt counts once however many choices it has."""
        prompt = sum(prompt.tokens for prompt in self.ask.prompts)
        output = sum(choice.ticket.sequence.generated for choice in self.choices)
        cached = sum(self.choices[at].ticket.sequence.cached for at in range(0, len(self.choices), self.ask.choices))
        return {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def whole(self) -> bytes:
        """The answer of a request that does not stream."""
        rows = []
        for choice in self.choices:
            row: dict[str, Any] = {"index": choice.index, "logprobs": None, "finish_reason": _reason(choice)}
            if self.ask.chat:
                row["message"] = {"role": "assistant", "content": choice.text(), "tool_calls": []}
            else:
                row["text"] = choice.text()
            rows.append(row)
        kind = "chat.completion" if self.ask.chat else "text_completion"
        return orjson.dumps({**self._head(kind), "choices": rows, "usage": self.usage()})

    def opening(self) -> bytes:
        """The role chunk of each choice of a chat; nothing for a plain completion."""
        if not self.ask.chat:
            return b""
        return b"".join(
            self._event(choice.index, {"role": "assistant", "content": ""}, None) for choice in self.choices
        )

    def tokens(self, choice: Choice) -> bytes:
        """One chunk for each token not written yet."""
        head, tail = self._frame(choice.index)
        return b"".join(head + orjson.dumps(piece) + tail for piece in choice.pieces())

    def closing(self, choice: Choice) -> bytes:
        """The chunk that ends a choice, with its reason."""
        return self._event(choice.index, {}, _reason(choice))

    def last(self) -> bytes:
        """The usage chunk when asked for, and the end mark."""
        if not self.ask.include_usage:
            return DONE
        return _sse({**self._head(self._chunk_kind()), "choices": [], "usage": self.usage()}) + DONE

    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.ask.chat else "text_completion"

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.name, "object": kind, "created": self.created, "model": self.model}

    def _event(self, index: int, delta: dict[str, Any], reason: str | None) -> bytes:
        row: dict[str, Any] = {"index": index, "logprobs": None, "finish_reason": reason}
        row |= {"delta": delta} if self.ask.chat else {"text": delta.get("content", "")}
        return _sse({**self._head(self._chunk_kind()), "choices": [row]})

    def _frame(self, index: int) -> tuple[bytes, bytes]:
        """A token chunk cut open where its text belongs, so that a token costs one small encoding."""
        head, _mark, tail = self._event(index, {"content": "\0"}, None).partition(b'"\\u0000"')
        return head, tail


def _reason(choice: Choice) -> str:
    reason = choice.ticket.sequence.finish_reason
    return "abort" if reason is None else reason.value


def _sse(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
