"""The counters and histograms of one engine, without any metrics library."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

TTFT_BUCKETS_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0,
)  # fmt: skip
ITL_BUCKETS_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0)


class Histogram:
    """Counts of values (seconds) up to each bound, and above the last."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """Values counted so far."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, int]]:
        """(upper bound as text, values at or below it), the last bound being ``+Inf``."""
        rows, total = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            rows.append((bound, total))
        return rows


@dataclass(slots=True)
class Telemetry:
    """Monotone counters since the engine was made; histograms in seconds."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generation_tokens: int = 0
    preemptions: int = 0
    steps: int = 0
    finished: dict[str, int] = field(default_factory=lambda: {"stop": 0, "length": 0, "abort": 0})
    ttft: Histogram = field(default_factory=lambda: Histogram(TTFT_BUCKETS_S))
    inter_token: Histogram = field(default_factory=lambda: Histogram(ITL_BUCKETS_S))

    def first_token(self, input_tokens: int, ttft_s: float, cached_tokens: int) -> None:
        """A prompt is done and its first token is out. A prompt counts once, however often it was computed again."""
        self.prompt_tokens += input_tokens
        self.cached_tokens += cached_tokens
        self.generation_tokens += 1
        self.ttft.add(ttft_s)

    def next_token(self, gap_s: float) -> None:
        """One more token, ``gap_s`` after the one before it."""
        self.generation_tokens += 1
        self.inter_token.add(gap_s)
