"""What is counted: three dimensions, always in the order tokens, KV-cache bytes, concurrency.

Two shapes share the order. A :class:`Rate` is what a pool has or an entitlement is promised (its first member is tokens
per second); a :class:`Cost` is what one request takes (its first member is tokens). Both hold whole numbers only.

Source: paper section on resources (tokens per second, KV bytes, concurrency); whole numbers are Token Pools design.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Dimension(StrEnum):
    """The dimension a limit or refusal speaks of."""

    TOKENS = "tokens"
    KV_BYTES = "kv_bytes"
    CONCURRENCY = "concurrency"


DIMENSIONS: tuple[Dimension, ...] = (Dimension.TOKENS, Dimension.KV_BYTES, Dimension.CONCURRENCY)


@dataclass(frozen=True, slots=True)
class Rate:
    """A capacity, promise, limit or use: (tokens/s, bytes, sequences)."""

    tokens_per_second: int
    kv_bytes: int
    concurrency: int

    def __post_init__(self) -> None:
        if min(self.tokens_per_second, self.kv_bytes, self.concurrency) < 0:
            raise ValueError(f"a rate cannot be negative: {self}")

    def __add__(self, other: Rate) -> Rate:
        return Rate(
            self.tokens_per_second + other.tokens_per_second,
            self.kv_bytes + other.kv_bytes,
            self.concurrency + other.concurrency,
        )

    def times(self, count: int) -> Rate:
        """The same amount ``count`` times over, for instance the capacity of ``count`` equal replicas."""
        return Rate(self.tokens_per_second * count, self.kv_bytes * count, self.concurrency * count)

    def fits_in(self, other: Rate) -> bool:
        """True when no dimension exceeds the other's."""
        return (
            self.tokens_per_second <= other.tokens_per_second
            and self.kv_bytes <= other.kv_bytes
            and self.concurrency <= other.concurrency
        )

    def as_tuple(self) -> tuple[int, int, int]:
        """(tokens/s, bytes, sequences)."""
        return (self.tokens_per_second, self.kv_bytes, self.concurrency)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request takes while it runs: (tokens, bytes, sequences)."""

    tokens: int
    kv_bytes: int
    concurrency: int

    def __post_init__(self) -> None:
        if min(self.tokens, self.kv_bytes, self.concurrency) < 0:
            raise ValueError(f"a cost cannot be negative: {self}")


def kv_bytes_per_token(layers: int, kv_heads: int, head_dim: int, bytes_per_element: int) -> int:
    """KV-cache bytes one token occupies: 2 (key and value) x layers x kv_heads x head_dim x bytes. Source: paper."""
    return 2 * layers * kv_heads * head_dim * bytes_per_element


def request_cost(
    *,
    input_tokens: int,
    max_tokens: int,
    choices: int,
    block_tokens: int,
    bytes_per_token: int,
    cached_tokens: int = 0,
    weight_input: int = 1,
    weight_output: int = 1,
) -> Cost:
    """The reservation of a request before it runs.

    tokens = weight_input x (input - cached) + weight_output x max_tokens x choices;
    KV bytes = whole blocks for the prompt and each choice's output; concurrency = choices.

    Raises ValueError for a negative count or an empty block. Source: paper; per-choice output is Token Pools design.
    """
    if min(input_tokens, max_tokens, cached_tokens, weight_input, weight_output) < 0 or choices < 1 or block_tokens < 1:
        raise ValueError("token counts must be 0 or more, choices and block_tokens 1 or more")
    output = max_tokens * choices
    blocks = -(-(input_tokens + output) // block_tokens)
    return Cost(
        tokens=weight_input * max(0, input_tokens - cached_tokens) + weight_output * output,
        kv_bytes=blocks * block_tokens * bytes_per_token,
        concurrency=choices,
    )
