"""Count what clients saw: by class, by tenant and together. Percentiles come from samples of bounded size."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pools.simulator.caller import Answer, Ending
from pools.simulator.senders import Order, Sender

SAMPLE_SIZE = 20_000
PERCENTILES = (50, 95, 99)


class Sample:
    """At most ``size`` of the values seen, each as likely as any other (reservoir sampling)."""

    def __init__(self, size: int = SAMPLE_SIZE) -> None:
        self.values: list[float] = []
        self.seen = 0
        self._size = size

    def add(self, values: Iterable[float]) -> None:
        """Take in more values."""
        for value in values:
            self.seen += 1
            if len(self.values) < self._size:
                self.values.append(value)
            elif (place := random.randrange(self.seen)) < self._size:
                self.values[place] = value

    def milliseconds(self) -> dict[str, float | None]:
        """p50, p95 and p99 of seconds, in milliseconds; None without values."""
        ordered = sorted(self.values)
        return {f"p{percent}": percentile(ordered, percent) for percent in PERCENTILES}


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """A percentile of ascending seconds, in milliseconds (nearest rank); None of nothing."""
    if not ordered:
        return None
    rank = max(1, -int(-percent * len(ordered) // 100))
    return round(ordered[rank - 1] * 1000, 1)


@dataclass(slots=True)
class Figures:
    """Sums over a group of orders."""

    sent: int = 0
    admitted: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    turned_away: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    retried: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    good_tokens: int = 0
    ttft: Sample = field(default_factory=Sample)
    gaps: Sample = field(default_factory=Sample)
    total: Sample = field(default_factory=Sample)

    def add(self, answer: Answer) -> None:
        """Count one answer."""
        self.sent += 1
        self.admitted += answer.admitted
        self.endings[answer.ending.value] += 1
        self.attempts += answer.attempts
        self.retried += max(0, answer.attempts - 1)
        self.turned_away.update(answer.refusals)
        if answer.ending is Ending.REFUSED:
            self.refused[answer.code] += 1
        elif answer.ending is Ending.FAILED:
            self.failed[answer.code or "unknown"] += 1
        self.input_tokens += answer.input_tokens
        self.output_tokens += answer.output_tokens
        if answer.ttft_s is not None:
            self.ttft.add((answer.ttft_s,))
        self.gaps.add(answer.gaps_s)
        if answer.ending is Ending.COMPLETED:
            self.good_tokens += answer.output_tokens
            self.total.add((answer.total_s,))

    def summary(self, seconds: float) -> dict[str, Any]:
        """Everything as plain numbers; ``seconds`` is how long the run took."""
        return {
            "sent": self.sent,
            "admitted": self.admitted,
            **{ending.value: self.endings[ending.value] for ending in Ending},
            "refused_by_code": dict(self.refused.most_common()),
            "failed_by_code": dict(self.failed.most_common()),
            "attempts": self.attempts,
            "attempts_turned_away_by_code": dict(self.turned_away.most_common()),
            "retried": self.retried,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "goodput_tokens_per_second": round(self.good_tokens / max(seconds, 1e-9), 1),
            "ttft_ms": self.ttft.milliseconds(),
            "itl_ms": self.gaps.milliseconds(),
            "e2e_ms": self.total.milliseconds(),
        }


class Tally:
    """Figures of a run. ``late`` samples how long after its time an order was sent; ``skipped`` were never sent."""

    def __init__(self) -> None:
        self.all = Figures()
        self.by_class: dict[str, Figures] = {}
        self.by_tenant: dict[str, Figures] = {}
        self.class_of: dict[str, str] = {}
        self.late = Sample()
        self.skipped = 0

    def add(self, order: Order, answer: Answer) -> None:
        """Count one ended order."""
        for figures in (self.all, *self._groups(order.sender)):
            figures.add(answer)

    def _groups(self, sender: Sender) -> tuple[Figures, Figures]:
        self.class_of[sender.tenant] = sender.service_class
        return (
            self.by_class.setdefault(sender.service_class, Figures()),
            self.by_tenant.setdefault(sender.tenant, Figures()),
        )

    def summary(self, seconds: float) -> dict[str, Any]:
        """The whole run as plain numbers."""
        return {
            "seconds": round(seconds, 1),
            **self.all.summary(seconds),
            "skipped": self.skipped,
            "late_ms": self.late.milliseconds(),
            "by_class": {name: figures.summary(seconds) for name, figures in self.by_class.items()},
            "by_tenant": {
                name: {"class": self.class_of[name], **figures.summary(seconds)}
                for name, figures in sorted(self.by_tenant.items())
            },
        }
