"""Prompts of about the right size: plain English of so many bytes, equal where the trace says it was equal."""

from __future__ import annotations

from pools.simulator import words

BYTES_PER_TOKEN = 3.6
MESSAGE_OVERHEAD_BYTES = 16
_BOUNDS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


_SOURCE = words.answer(words.seed_of("prompts"), 16_384)


def piece(name: int, size: int) -> str:
    """``size`` characters (bytes, for they are ASCII); the same name gives the same text."""
    start = name * 7919 % len(_SOURCE)
    text = _SOURCE[start : start + size]
    while len(text) < size:
        text += _SOURCE[: size - len(text)]
    return text


def prompt(tokens: int, name: int, prefix: tuple[int, ...] = (), bytes_per_token: float = BYTES_PER_TOKEN) -> str:
    """A prompt of about ``tokens`` tokens. ``prefix`` names the blocks it begins with, ``name`` its own text."""
    size = max(1, round(tokens * bytes_per_token) - MESSAGE_OVERHEAD_BYTES)
    if not prefix:
        return piece(name, size)
    block = max(1, size // len(prefix))
    return "".join(piece(part, block) for part in prefix)[:size].ljust(size, ".")


def max_tokens_for(output_tokens: int, context_left: int) -> int:
    """The bound an application sets that will get ``output_tokens``: a customary one, as far as the context goes."""
    bound = next((bound for bound in _BOUNDS if bound >= output_tokens), output_tokens)
    return max(1, min(bound, context_left))
