"""When an alert opens and when it clears: thresholds with hysteresis, crossed for some seconds; when a message is tried
again. Source: Token Pools design (once per crossing and level, never twice without a clear in between)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

LONGEST_GAP_S = 60.0
"""A crossing that nobody looked at for so long begins anew: its seconds were not seen."""
MOST_ATTEMPTS = 10
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 900.0
JITTER = 0.25


class Level(NamedTuple):
    """One threshold and what crossing it is called."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rule says. ``levels`` from mild to severe; ``below``: crossed downward instead of upward; a level clears
    when the value is back behind its threshold by more than ``hysteresis`` (same unit)."""

    levels: tuple[Level, ...]
    below: bool = False
    hysteresis: float = 0.0
    for_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """A level that is crossed: since when, when that was last seen (both in seconds), whether the alert is open."""

    since: float
    seen: float
    opened: bool


class Kind(StrEnum):
    """What happened to an alert."""

    OPENED = "opened"
    CLEARED = "cleared"


class Event(NamedTuple):
    """One crossing or one clear of one level."""

    level: str
    kind: Kind


class Step(NamedTuple):
    """The standings after a look, by level, and what there is to tell, mild levels first."""

    standings: dict[str, Standing]
    events: tuple[Event, ...]


def crossed(terms: Terms, level: Level, value: float) -> bool:
    """At the threshold or beyond it."""
    return value <= level.value if terms.below else value >= level.value


def back(terms: Terms, level: Level, value: float) -> bool:
    """Behind the threshold by more than the hysteresis."""
    if terms.below:
        return value > level.value + terms.hysteresis
    return value < level.value - terms.hysteresis


def step(terms: Terms, standings: Mapping[str, Standing], value: float | None, at: float) -> Step:
    """One look at ``value`` at ``at`` seconds. None or NaN: nothing is known, so nothing opens and nothing clears.

    A level that the terms no longer have is cleared if it was open.
    """
    after: dict[str, Standing] = {}
    events: list[Event] = []
    names = {level.name for level in terms.levels}
    known = value is not None and not math.isnan(value)
    for level in terms.levels:
        standing = standings.get(level.name)
        if not known or value is None:
            if standing is not None:
                after[level.name] = standing
            continue
        now_standing, event = _look(terms, level, standing, value, at)
        if now_standing is not None:
            after[level.name] = now_standing
        if event is not None:
            events.append(Event(level.name, event))
    gone = [name for name, standing in standings.items() if name not in names and standing.opened]
    return Step(after, (*events, *(Event(name, Kind.CLEARED) for name in gone)))


def _look(
    terms: Terms, level: Level, standing: Standing | None, value: float, at: float
) -> tuple[Standing | None, Kind | None]:
    if standing is not None and standing.opened:
        return (None, Kind.CLEARED) if back(terms, level, value) else (Standing(standing.since, at, True), None)
    if not crossed(terms, level, value):
        return None, None
    unbroken = standing is not None and 0 <= at - standing.seen <= LONGEST_GAP_S
    since = standing.since if standing is not None and unbroken else at
    opened = at - since >= terms.for_seconds
    return Standing(since, at, opened), Kind.OPENED if opened else None


def levels_crossed(terms: Terms, value: float | None) -> tuple[Level, ...]:
    """Levels that a value crosses now, mild first: what would open if it stayed so."""
    if value is None or math.isnan(value):
        return ()
    return tuple(level for level in terms.levels if crossed(terms, level, value))


def problem(terms: Terms, lowest: float, highest: float) -> str:
    """Why these terms could never work, "" when they can. Values of the metric lie in ``lowest`` … ``highest``."""
    values = [level.value for level in terms.levels]
    if not values:
        return "Give at least one threshold."
    if any(not lowest <= value <= highest for value in values):
        return f"Thresholds lie between {lowest:g} and {highest:g}."
    ordered = sorted(set(values), reverse=terms.below)
    if values != ordered:
        return f"Thresholds go from mild to severe: each {'lower' if terms.below else 'higher'} than the one before it."
    if terms.below and values[0] + terms.hysteresis >= highest:
        return f"With this hysteresis an alert at {values[0]:g} could never clear: it needs more than {highest:g}."
    if not terms.below and values[0] - terms.hysteresis <= lowest and terms.hysteresis > 0:
        return f"With this hysteresis an alert at {values[0]:g} could never clear: it needs less than {lowest:g}."
    if not terms.below and values[0] <= lowest:
        return f"A threshold of {values[0]:g} is always crossed; give a higher one."
    return ""


def headroom_percent(
    capacity: Sequence[float], hold: Sequence[float], use: Sequence[float]
) -> tuple[float, int] | None:
    """The smallest share of capacity that is free beside use and reserves, in percent, and its dimension.

    min_d 100·max(0, C_d − hold_d − use_d)/C_d. None without any capacity.
    """
    shares = [
        (100.0 * max(0.0, whole - held - used) / whole, dimension)
        for dimension, (whole, held, used) in enumerate(zip(capacity, hold, use, strict=True))
        if whole > 0
    ]
    return min(shares, default=None)


class Totals(NamedTuple):
    """Running counts of a pool at one moment (milliseconds): requests admitted and refused since it was made."""

    at_ms: int
    admitted: int
    refused: int


def refused_percent(seen: Sequence[Totals], window_ms: int = 60_000) -> float | None:
    """Refused requests of all that were asked, in percent, over the window that ends with the newest of ``seen``.

    0 when nobody asked. None while less than a sixth of the window was seen, or when the counts began anew.
    """
    if len(seen) < 2:
        return None
    newest = seen[-1]
    inside = [one for one in seen[:-1] if newest.at_ms - one.at_ms <= window_ms + 5_000]
    if not inside or newest.at_ms - inside[0].at_ms < window_ms // 6:
        return None
    admitted, refused = newest.admitted - inside[0].admitted, newest.refused - inside[0].refused
    if admitted < 0 or refused < 0:
        return None
    return 100.0 * refused / (admitted + refused) if admitted + refused else 0.0


def retry_pause_s(attempts: int, roll: float, asked_s: float = 0.0) -> float | None:
    """Seconds until a failed message is tried again, after ``attempts`` tries; None: it is given up.

    5 s · 2^(attempts−1), at most 15 minutes, times 1 ± 0.25 by ``roll`` in 0 … 1. ``asked_s`` is the receiver's own
    Retry-After, obeyed where it is longer.
    """
    if attempts >= MOST_ATTEMPTS:
        return None
    pause: float = min(FIRST_PAUSE_S * 2.0 ** max(0, attempts - 1), LONGEST_PAUSE_S)
    return max(pause * (1 - JITTER + 2 * JITTER * roll), min(asked_s, LONGEST_PAUSE_S))
