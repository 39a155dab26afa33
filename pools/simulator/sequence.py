"""One sequence in the engine: what it asked for, how far it got, and when."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum


class Phase(StrEnum):
    """Where a sequence is."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class FinishReason(StrEnum):
    """Why a sequence ended: its natural end, its max_tokens, or its caller left."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"


@dataclass(eq=False, slots=True)
class Sequence:
    """A request of one choice. Times are seconds on the caller's clock, None until they happen.

    ``output_tokens`` is how many tokens it will generate unless aborted, and ``reason`` how it then ends.
    ``prefix_keys`` name the whole blocks at the beginning of its prompt; equal keys share cached blocks.
    ``serial`` is given by the engine and never twice. ``computed`` counts tokens whose KV entries exist; ``generated``
    the output so far; ``cached`` the prompt tokens its first start found in the cache; ``preemptions`` how often it
    lost its blocks and began again.
    """

    name: Hashable
    input_tokens: int
    output_tokens: int
    reason: FinishReason = FinishReason.LENGTH
    prefix_keys: tuple[Hashable, ...] = ()
    serial: int = 0
    phase: Phase = Phase.WAITING
    computed: int = 0
    generated: int = 0
    cached: int = 0
    preemptions: int = 0
    blocks: list[int] = field(default_factory=list)
    published: int = 0
    queued_at: float | None = None
    scheduled_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float | None = None
    finished_at: float | None = None
    finish_reason: FinishReason | None = None

    @property
    def tokens(self) -> int:
        """Tokens known so far: the prompt and what was generated."""
        return self.input_tokens + self.generated

    @property
    def ttft_s(self) -> float | None:
        """Seconds from queued to first token, None before it."""
        if self.first_token_at is None or self.queued_at is None:
            return None
        return self.first_token_at - self.queued_at

    def block_key(self, index: int) -> Hashable:
        """The name of the content of its block ``index``: shared for a known prefix, its own beyond."""
        if index < len(self.prefix_keys):
            return self.prefix_keys[index]
        return ("own", self.serial, index)
