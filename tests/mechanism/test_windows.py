"""A lease fits when it fits at every moment of its window; compared with asking every boundary there is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.mechanism.amounts import Rate
from pools.mechanism.lease import LeaseFit, Promises, Supply, Verdict, fit
from pools.mechanism.ordering import ClassCode
from pools.mechanism.windows import Span, Window, fit_within, moments, peak

BEGIN = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
REPLICA = Rate(240, 1600, 16)
GUARANTEED, ELASTIC, SPOT = ClassCode.GUARANTEED, ClassCode.ELASTIC, ClassCode.SPOT
WORSE = [Verdict.NOW, Verdict.AFTER_SCALING, Verdict.NEVER]
SOON = timedelta(microseconds=1)


def day(number: int) -> datetime:
    return BEGIN + timedelta(days=number)


def span(begins: int, ends: int | None, slots: int, *, elastic: bool = False) -> Span:
    sums = (15 * slots, 100 * slots, slots)
    until = None if ends is None else day(ends)
    return Span(day(begins), until, elastic=sums) if elastic else Span(day(begins), until, reserved=sums)


def ask(slots: int, spans: Sequence[Span], begins: int, ends: int | None, now: int = 0) -> LeaseFit:
    """Two replicas of 16 slots are ready, four there may be."""
    base = Rate(15 * slots, 100 * slots, slots)
    window = Window.of(day(begins), None if ends is None else day(ends), day(now))
    return fit_within(base, GUARANTEED, spans, Supply(REPLICA.times(2), REPLICA, 2, 4), 1.0, window)


def test_what_begins_after_the_window_or_has_ended_before_it_does_not_count() -> None:
    others = [span(0, 3, 60), span(10, None, 60)]
    assert ask(32, others, 3, 10).verdict is Verdict.NOW, "an end is left out, so both meet without touching"
    assert ask(32, others, 2, 10).verdict is Verdict.NEVER
    assert ask(32, others, 3, 11).verdict is Verdict.NEVER
    assert ask(32, others, 3, None).since == day(10)


def test_the_sentence_says_when_the_shortage_begins() -> None:
    answer = ask(20, [span(6, 9, 50), span(8, 9, 12)], 0, None)
    assert (answer.verdict, answer.first, answer.since) == (Verdict.NEVER, Verdict.NOW, day(6))
    assert answer.shortfall_at_most == (270.0, 1800.0, 18.0), "at the worst moment, on day 8"
    assert answer.sentence.startswith("It does not fit even with all 4 replicas from 3 Dec 08:00 UTC on: 270 tokens/s")
    later = ask(20, [span(6, 9, 30)], 2, None)
    assert later.verdict is Verdict.AFTER_SCALING and "needs 4 ready replicas from 3 Dec 08:00 UTC on" in later.sentence
    now = ask(40, [span(0, None, 30)], 0, 5)
    assert now.since == day(0) and "from" not in now.sentence
    assert "from 1 Jan 2027 08:00 UTC on" in ask(65, [], 35, None).sentence, "short from its own beginning"


def test_a_class_that_promises_nothing_always_fits_and_a_promise_can_be_taken_out() -> None:
    window = Window.of(day(0), None, day(0))
    supply = Supply(REPLICA, REPLICA, 1, 1)
    assert fit_within(Rate(0, 0, 0), SPOT, [span(0, None, 99)], supply, 1.0, window).verdict is Verdict.NOW
    without = Span(day(0), None, reserved=(-150, -1000, -10))
    assert peak([span(0, None, 16), without], day(0), None, 1.0) == (90.0, 600.0, 6.0)
    with pytest.raises(ValueError, match="oversubscription"):
        fit_within(Rate(1, 1, 1), GUARANTEED, [], supply, 0.5, window)


@st.composite
def spans_drawn(draw: st.DrawFn) -> list[Span]:
    found = []
    for _ in range(draw(st.integers(0, 12))):
        begins = draw(st.integers(0, 12))
        ends = draw(st.one_of(st.none(), st.integers(begins + 1, 14)))
        sums = draw(st.tuples(st.integers(0, 300), st.integers(0, 2000), st.integers(0, 20)))
        if draw(st.booleans()):
            found.append(Span(day(begins), None if ends is None else day(ends), reserved=sums))
        else:
            found.append(Span(day(begins), None if ends is None else day(ends), elastic=sums))
    return found


def promised_at(spans: Sequence[Span], at: datetime) -> Promises:
    """By the definition: everything that has begun and has not ended."""
    living = [one for one in spans if one.begins <= at and (one.ends is None or at < one.ends)]
    kept = Rate(*(sum(one.reserved[d] for one in living) for d in range(3)))
    return Promises(kept, Rate(*(sum(one.elastic[d] for one in living) for d in range(3))))


@given(
    spans_drawn(),
    st.tuples(st.integers(0, 400), st.integers(0, 3000), st.integers(0, 40)),
    st.sampled_from([GUARANTEED, ELASTIC]),
    st.integers(0, 12),
    st.one_of(st.none(), st.integers(1, 15)),
    st.sampled_from([1.0, 1.5, 3.0]),
    st.integers(0, 6),
)
def test_it_is_the_worst_of_every_boundary(
    spans: list[Span],
    amounts: tuple[int, int, int],
    kind: ClassCode,
    begins: int,
    lasts: int | None,
    share: float,
    now: int,
) -> None:
    base, supply = Rate(*amounts), Supply(REPLICA.times(2), REPLICA, 2, 4)
    window = Window.of(day(begins), None if lasts is None else day(max(begins, now) + lasts), day(now))
    answer = fit_within(base, kind, spans, supply, share, window)
    edges = {window.begins, *(one.begins for one in spans), *(one.ends for one in spans if one.ends is not None)}
    around = sorted(at for edge in edges for at in (edge - SOON, edge, edge + SOON))
    inside = [at for at in around if at >= window.begins and (window.ends is None or at < window.ends)]
    each = [(at, fit(base, kind, promised_at(spans, at), supply, share)) for at in inside]
    assert answer.verdict is max((one.verdict for _, one in each), key=WORSE.index)
    assert answer.replicas_needed == max(one.replicas_needed for _, one in each)
    assert answer.first is each[0][1].verdict
    for mine, theirs in (("shortfall_now", "shortfall_now"), ("shortfall_at_most", "shortfall_at_most")):
        worst = tuple(max(getattr(one, theirs)[d] for _, one in each) for d in range(3))
        if mine == "shortfall_now" or answer.verdict is Verdict.NEVER:
            assert getattr(answer, mine) == pytest.approx(worst)
    bad = [at for at, one in each if one.verdict is answer.verdict and answer.verdict is not Verdict.NOW]
    assert answer.since == (bad[0] if bad else None)
    assert [one.promised for one in moments(spans, window.begins, window.ends)] == [
        promised_at(spans, one.at) for one in moments(spans, window.begins, window.ends)
    ]
