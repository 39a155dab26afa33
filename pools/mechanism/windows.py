"""Promises have windows: what is promised at each moment of one, and whether a lease fits throughout its own. Pure.

A promise counts from its beginning to its end, the end left out. What is promised changes only where one begins or
ends, and grows only where one begins: so the worst moment of a window [begins, ends) is its first, or one in it at
which another promise begins. Source: Token Pools design, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pools.mechanism.amounts import Rate
from pools.mechanism.lease import LeaseFit, Promises, Supply, Triple, Verdict, fit, fit_answer, shortfall
from pools.mechanism.ordering import RANK_OF_CLASS, ClassCode

Whole = tuple[int, int, int]
NONE: Whole = (0, 0, 0)
AMPLE = Promises(Rate(0, 0, 0), Rate(0, 0, 0))


@dataclass(frozen=True, slots=True)
class Span:
    """Sums of base that are promised from ``begins`` until before ``ends`` (None: open). Negative sums take a promise
    out of another span."""

    begins: datetime
    ends: datetime | None
    reserved: Whole = NONE
    elastic: Whole = NONE


@dataclass(frozen=True, slots=True)
class Moment:
    """What is promised from ``at`` on, until the next moment (or less, where something ends before)."""

    at: datetime
    promised: Promises


@dataclass(frozen=True, slots=True)
class Window:
    """The time a lease is asked for, beginning no earlier than now; ``now`` tells what is yet to come."""

    begins: datetime
    ends: datetime | None
    now: datetime

    @classmethod
    def of(cls, begins: datetime, ends: datetime | None, now: datetime) -> Window:
        """What is left of [begins, ends) now."""
        return cls(max(begins, now), ends, now)


def moments(spans: Iterable[Span], begins: datetime, ends: datetime | None = None) -> list[Moment]:
    """The first moment of [begins, ends), and each later one in it at which something begins, in their order."""
    starting, ending = list(spans), [span for span in spans if span.ends is not None]
    starting.sort(key=lambda span: span.begins)
    ending.sort(key=lambda span: span.ends or span.begins)
    at = sorted({begins, *(s.begins for s in starting if s.begins > begins and (ends is None or s.begins < ends))})
    found, sums, started, ended = [], [0] * 6, 0, 0
    for moment in at:
        while started < len(starting) and starting[started].begins <= moment:
            sums = _moved(sums, starting[started], 1)
            started += 1
        while ended < len(ending) and (ending[ended].ends or moment) <= moment:
            sums = _moved(sums, ending[ended], -1)
            ended += 1
        whole = [max(0, value) for value in sums]
        found.append(Moment(moment, Promises(Rate(*whole[:3]), Rate(*whole[3:]))))
    return found


def fit_within(
    base: Rate, service_class: ClassCode, spans: Sequence[Span], supply: Supply, oversubscription: float, window: Window
) -> LeaseFit:
    """Whether a lease fits beside the others' ``spans`` at every moment of its window: ``lease.fit`` at the worst.

    What is missing is the most that is ever missing in each dimension; ``since`` is when the shortage begins that
    decides the verdict; ``first`` the verdict at the window's first moment. Raises ValueError for an oversubscription
    below 1.
    """
    if RANK_OF_CLASS[service_class] > 1:
        return fit(base, service_class, AMPLE, supply, oversubscription)
    most = supply.at(supply.most)
    now: Triple = (0.0, 0.0, 0.0)
    at_most: Triple = (0.0, 0.0, 0.0)
    short_since: datetime | None = None
    never_since: datetime | None = None
    first: Verdict | None = None
    for moment in moments(spans, window.begins, window.ends):
        ready = shortfall(base, service_class, moment.promised, supply.ready, oversubscription)
        whole = shortfall(base, service_class, moment.promised, most, oversubscription) if any(ready) else ready
        if first is None:
            first = Verdict.NEVER if any(whole) else Verdict.AFTER_SCALING if any(ready) else Verdict.NOW
        if any(ready):
            short_since, now = short_since or moment.at, _larger(now, ready)
        if any(whole):
            never_since, at_most = never_since or moment.at, _larger(at_most, whole)
    since = never_since or short_since
    when = f" from {moment_words(since, window.now)} on" if since is not None and since > window.now else ""
    return fit_answer(now, at_most, supply, when=when, since=since, first=first)


def peak(spans: Iterable[Span], begins: datetime, ends: datetime | None, oversubscription: float) -> Triple:
    """The most that is ever promised of each dimension in [begins, ends): reserved + elastic / oversubscription."""
    most: Triple = (0.0, 0.0, 0.0)
    for moment in moments(spans, begins, ends):
        kept, elastic = moment.promised.reserved.as_tuple(), moment.promised.elastic.as_tuple()
        at = [one + other / oversubscription for one, other in zip(kept, elastic, strict=True)]
        most = _larger(most, (at[0], at[1], at[2]))
    return most


def moment_words(at: datetime, now: datetime) -> str:
    """3 Dec 00:00 UTC; with the year where it is another one."""
    year = f" {at.year}" if at.year != now.year else ""
    return f"{at.day} {at:%b}{year} {at:%H:%M} UTC"


def _moved(sums: list[int], span: Span, sign: int) -> list[int]:
    return [have + sign * own for have, own in zip(sums, (*span.reserved, *span.elastic), strict=True)]


def _larger(one: Triple, other: Triple) -> Triple:
    return (max(one[0], other[0]), max(one[1], other[1]), max(one[2], other[2]))
