"""Text that means nothing and is always the same: what a simulated model says, and how many tokens a text has."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Hashable

WORDS = (
    " the", " pool", " of", " slots", " and", " a", " debt", " is", " paid", " when", " load", " falls", " so",
    " each", " share", " grows", " in", " turn", " by", " its", " weight", ",", " then", " tokens", " flow", ".",
    " No", " queue", " is", " long", " for", " one", " who", " waits", " with", " care", " to", " see", " the",
    " light", " from", " far",
)  # fmt: skip


def seed_of(text: str, salt: int = 0) -> int:
    """A number that depends on the text and the salt only."""
    return zlib.crc32(text.encode("utf-8", "replace"), salt & 0xFFFFFFFF)


def word(seed: int, index: int) -> str:
    """Token number ``index`` of the answer with this seed."""
    return WORDS[((seed ^ index * 2654435761) & 0xFFFFFFFF) * 40503 % 65537 % len(WORDS)]


def answer(seed: int, tokens: int) -> str:
    """The first ``tokens`` tokens of an answer."""
    return "".join(word(seed, index) for index in range(tokens))


def drawn_length(seed: int, median: float, spread: float = 0.8) -> int:
    """A natural answer length: lognormal with this median, the same for the same seed, at least 1."""
    return max(1, round(median * math.exp(random.Random(seed).gauss(0.0, spread))))


def token_count(text: str, bytes_per_token: float) -> int:
    """Tokens of a text under the simulated tokenizer: its UTF-8 bytes over the ratio, rounded up; 0 for no text."""
    return math.ceil(len(text.encode("utf-8", "replace")) / bytes_per_token)


def stop_after(seed: int, tokens: int, stops: tuple[str, ...]) -> tuple[int, int | None]:
    """(tokens generated, characters kept): the answer ends with the token that completes a stop string.

    The kept text excludes the stop string; None characters when none occurs within ``tokens``.
    """
    text = ""
    longest = max(map(len, stops), default=0)
    for index in range(tokens if stops else 0):
        before = max(0, len(text) - longest + 1)
        text += word(seed, index)
        places = [place for place in (text.find(stop, before) for stop in stops) if place >= 0]
        if places:
            return index + 1, min(places)
    return tokens, None


def prefix_keys(text: str, tokens: int, bytes_per_token: float, block_tokens: int) -> tuple[Hashable, ...]:
    """Names of the whole KV blocks of a prompt: two prompts share a name when their texts agree up to that block."""
    width = max(1, int(bytes_per_token * block_tokens))
    keys: list[Hashable] = []
    last = 0
    for index in range(min(tokens // block_tokens, len(text) // width)):
        last = hash((last, text[index * width : (index + 1) * width]))
        keys.append(last)
    return tuple(keys)
