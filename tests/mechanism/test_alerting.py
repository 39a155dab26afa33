"""An alert opens once per crossing and clears once; messages are tried again with growing pauses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.mechanism.alerting import (
    LONGEST_GAP_S,
    MOST_ATTEMPTS,
    Kind,
    Level,
    Standing,
    Terms,
    Totals,
    back,
    crossed,
    headroom_percent,
    levels_crossed,
    problem,
    refused_percent,
    retry_pause_s,
    step,
)

LOW = Terms((Level("warning", 20), Level("critical", 5)), below=True, hysteresis=5, for_seconds=10)
HIGH = Terms((Level("warning", 10), Level("critical", 50)), hysteresis=2, for_seconds=0)
NAN = float("nan")


def told(terms: Terms, looks: list[tuple[float, float | None]]) -> list[str]:
    """(at, value) pairs → "12 critical opened"."""
    standings: dict[str, Standing] = {}
    found = []
    for at, value in looks:
        standings, events = step(terms, standings, value, at)
        found += [f"{at:g} {event.level} {event.kind}" for event in events]
    return found


@pytest.mark.parametrize(
    ("name", "terms", "looks", "expected"),
    [
        ("at once", HIGH, [(0, 9.9), (1, 10)], ["1 warning opened"]),
        ("both at one look", HIGH, [(0, 80)], ["0 warning opened", "0 critical opened"]),
        ("not before its seconds", LOW, [(0, 19), (5, 19), (9.9, 19)], []),
        ("after its seconds", LOW, [(0, 19), (5, 19), (10, 19)], ["10 warning opened"]),
        ("once, however long", LOW, [(n, 19) for n in range(0, 100, 5)], ["10 warning opened"]),
        ("an interruption begins anew", LOW, [(0, 19), (8, 21), (10, 19), (18, 19)], []),
        ("inside the hysteresis it stays", HIGH, [(0, 10), (1, 8), (2, 9), (3, 11)], ["0 warning opened"]),
        ("behind the hysteresis it clears", HIGH, [(0, 10), (1, 7.9)], ["0 warning opened", "1 warning cleared"]),
        (
            "again after a clear",
            HIGH,
            [(0, 10), (1, 0), (2, 10)],
            ["0 warning opened", "1 warning cleared", "2 warning opened"],
        ),
        (
            "severe clears first",
            HIGH,
            [(0, 60), (1, 30), (2, 1)],
            ["0 warning opened", "0 critical opened", "1 critical cleared", "2 warning cleared"],
        ),
        ("unknown opens nothing", LOW, [(0, 19), (10, None), (20, NAN)], []),
        ("unknown clears nothing", HIGH, [(0, 10), (1, None), (2, 10)], ["0 warning opened"]),
        ("a pause of the watch is not counted", LOW, [(0, 19), (LONGEST_GAP_S + 1, 19)], []),
        ("a clock set back begins anew", LOW, [(100, 19), (50, 19), (55, 19)], []),
    ],
)
def test_table(name: str, terms: Terms, looks: list[tuple[float, float | None]], expected: list[str]) -> None:
    assert told(terms, looks) == expected, name


def test_a_level_that_is_gone_is_cleared_and_forgotten() -> None:
    standings = {"critical": Standing(0, 5, True), "notice": Standing(0, 5, False)}
    after, events = step(Terms((Level("warning", 10),)), standings, 1.0, 6)
    assert after == {} and [(event.level, event.kind) for event in events] == [("critical", Kind.CLEARED)]
    assert step(Terms((Level("warning", 10),)), standings, None, 6).events == events


VALUES = st.one_of(st.none(), st.just(NAN), st.floats(0, 100))
TERMS = st.builds(
    lambda values, below, hysteresis, for_seconds: Terms(
        tuple(Level(f"level {n}", v) for n, v in enumerate(sorted(values, reverse=below))),
        below,
        hysteresis,
        for_seconds,
    ),
    st.lists(st.floats(1, 99), min_size=1, max_size=4, unique=True),
    st.booleans(),
    st.floats(0, 20),
    st.floats(0, 30),
)


@given(terms=TERMS, looks=st.lists(st.tuples(st.floats(0.1, 20), VALUES), max_size=60))
def test_each_level_opens_and_clears_in_turn(terms: Terms, looks: list[tuple[float, float | None]]) -> None:
    """Whatever the values do: opened, cleared, opened …; opened only after its seconds; never open behind the
    hysteresis; the open levels are the mildest ones."""
    standings: dict[str, Standing] = {}
    last: dict[str, Kind] = {}
    crossed_since: dict[str, float] = {}
    at = 0.0
    for pause, value in looks:
        at += pause
        known = value is not None and not math.isnan(value)
        for level in terms.levels:
            if known and value is not None:
                if crossed(terms, level, value):
                    crossed_since.setdefault(level.name, at)
                else:
                    crossed_since.pop(level.name, None)
        standings, events = step(terms, standings, value, at)
        for event in events:
            assert last.get(event.level, Kind.CLEARED) != event.kind, "never the same twice in a row"
            last[event.level] = event.kind
            assert known, "nothing is told of an unknown value"
            if event.kind is Kind.OPENED:
                assert at - crossed_since[event.level] >= terms.for_seconds
        assert {name for name, one in standings.items() if one.opened} == {
            name for name, kind in last.items() if kind is Kind.OPENED
        }, "what is open is what was told and not cleared"
        opened = [level.name in standings and standings[level.name].opened for level in terms.levels]
        assert opened == sorted(opened, reverse=True), "a severe level is never open without the milder ones"
        if known and value is not None:
            for level in terms.levels:
                if level.name in standings:
                    assert not back(terms, level, value)


@given(terms=TERMS, value=st.floats(0, 100))
def test_what_is_crossed_now_opens_if_it_stays(terms: Terms, value: float) -> None:
    expected = {level.name for level in levels_crossed(terms, value)}
    standings: dict[str, Standing] = {}
    for at in (0.0, terms.for_seconds / 2, terms.for_seconds, terms.for_seconds + 1):
        standings, _ = step(terms, standings, value, at)
    assert {name for name, one in standings.items() if one.opened} == expected


def test_terms_that_could_never_work_are_named() -> None:
    def why(*values: float, below: bool = False, hysteresis: float = 0.0) -> str:
        terms = Terms(tuple(Level(str(v), v) for v in values), below, hysteresis)
        return problem(terms, 0, 100)

    assert why(10, 50) == "" and why(20, 5, below=True, hysteresis=5) == ""
    assert "at least one" in why()
    assert "between 0 and 100" in why(101)
    assert "each higher" in why(50, 10) and "each lower" in why(5, 20, below=True) and "each higher" in why(5, 5)
    assert "never clear" in why(99, below=True, hysteresis=1) and "never clear" in why(5, hysteresis=5)
    assert "always crossed" in why(0)


def test_headroom_is_the_tightest_dimension() -> None:
    assert headroom_percent((100, 200, 16), (10, 0, 4), (40, 180, 4)) == (10.0, 1)
    assert headroom_percent((100, 0, 16), (0, 0, 20), (0, 0, 4)) == (0.0, 2)
    assert headroom_percent((0, 0, 0), (0, 0, 0), (0, 0, 0)) is None


def test_refused_share_over_a_minute() -> None:
    assert refused_percent([]) is None and refused_percent([Totals(0, 0, 0)]) is None
    assert refused_percent([Totals(0, 0, 0), Totals(5_000, 9, 9)]) is None, "too little was seen"
    assert refused_percent([Totals(0, 0, 0), Totals(60_000, 30, 10)]) == 25.0
    assert refused_percent([Totals(0, 0, 9), Totals(40_000, 10, 9), Totals(100_000, 10, 9)]) == 0.0
    assert refused_percent([Totals(0, 50, 0), Totals(60_000, 3, 0)]) is None, "the store began anew"


def test_pauses_grow_and_end() -> None:
    assert [retry_pause_s(n, 0.5) for n in (1, 2, 3)] == [5.0, 10.0, 20.0]
    assert retry_pause_s(9, 0.5) == 900.0
    assert retry_pause_s(1, 0.0) == 3.75 and retry_pause_s(1, 1.0) == 6.25
    assert retry_pause_s(1, 0.5, asked_s=60) == 60.0 and retry_pause_s(1, 0.5, asked_s=1e9) == 900.0
    assert retry_pause_s(MOST_ATTEMPTS, 0.5) is None
