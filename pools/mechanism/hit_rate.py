"""How often scaling advice would have been right, looked at afterwards.

Every minute is judged by what was needed in it: the most replicas the rules wanted at any moment of it, before their
waiting windows. The advice it is compared with is the one that stood ``lead`` earlier, for a replica that is asked for
now serves only after it has started. Advice is

    too few     when fewer replicas were advised than were needed
    too many    when more than ``slack`` (1) above the need were advised
    right       otherwise: enough, and at most one to spare

and the hit rate is right / judged. What was really ready in the same minutes is judged alike, so that "advice" and "as
it was run" can be compared. A minute without metrics, or before the first advice, is not judged.

Source: Token Pools design.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

SLACK = 1
USUAL_LEAD_S, LONGEST_LEAD_S = 60.0, 900.0


class Minute(NamedTuple):
    """One minute: when it began (s), the most replicas needed in it (None: unknown), the fewest that were ready."""

    at_s: float
    needed: int | None
    ready: int


class Advice(NamedTuple):
    """From ``at_s`` on, ``replicas`` were advised."""

    at_s: float
    replicas: int


class Verdict(NamedTuple):
    """Minutes in which the advice was right, too few, too many; the same of what ran."""

    right: int = 0
    few: int = 0
    many: int = 0
    ran_right: int = 0
    ran_few: int = 0
    ran_many: int = 0

    @property
    def judged(self) -> int:
        """Minutes that could be judged."""
        return self.right + self.few + self.many

    @property
    def hit_rate(self) -> float | None:
        """Share of judged minutes in which the advice was right; None when none could be judged."""
        return self.right / self.judged if self.judged else None

    @property
    def ran_rate(self) -> float | None:
        """Share of judged minutes in which what ran was right."""
        return self.ran_right / self.judged if self.judged else None

    def plus(self, other: Verdict) -> Verdict:
        """Both together."""
        return Verdict(*(a + b for a, b in zip(self, other, strict=True)))


def judge(minutes: Sequence[Minute], advice: Sequence[Advice], lead_s: float, slack: int = SLACK) -> Verdict:
    """The verdict over ``minutes``; ``advice`` ascending by time. Raises ValueError for a negative lead or slack."""
    if lead_s < 0 or slack < 0:
        raise ValueError(f"lead and slack must be 0 or more, got {lead_s}, {slack}")
    moments = [one.at_s for one in advice]
    counts = [0] * 6
    for minute in minutes:
        index = bisect_right(moments, minute.at_s - lead_s) - 1
        if minute.needed is None or index < 0:
            continue
        counts[_place(advice[index].replicas, minute.needed, slack)] += 1
        counts[3 + _place(minute.ready, minute.needed, slack)] += 1
    return Verdict(*counts)


def lead_of(start_seconds: Sequence[float]) -> float:
    """How long a replica takes to serve: the median of the latest starts, 60 s when none was seen, at most 15 min."""
    known = sorted(seconds for seconds in start_seconds if seconds >= 0)
    return min(LONGEST_LEAD_S, known[len(known) // 2]) if known else USUAL_LEAD_S


def _place(had: int, needed: int, slack: int) -> int:
    return 1 if had < needed else 2 if had > needed + slack else 0
