"""From live states and rows to what a page shows: gauges, bullets, ranges. Pure: no query, no clock, no template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from portal.dashboards import numbers
from portal.dashboards.live_state import LiveRow, LiveState, Triple

DIMENSIONS = (("tokens", "Tokens/s"), ("kv", "KV cache"), ("slots", "Concurrency"))
LOW_ROOM = 0.15
BUCKET_SECONDS = 10.0
WORDS = {"good": "free", "low": "free, low", "none": "nothing free"}


class Range(NamedTuple):
    """A span of history: its name in the address, its length, the width of one point, of one refusal bar."""

    name: str
    seconds: int
    step_s: int
    bar_s: int


RANGES = (
    Range("15m", 900, 10, 10),
    Range("1h", 3600, 15, 60),
    Range("24h", 86_400, 300, 1800),
    Range("7d", 604_800, 3600, 10_800),
    Range("30d", 2_592_000, 14_400, 43_200),
)


class PoolPoint(NamedTuple):
    """One step of a pool's history. Triples are (tokens/s, KV bytes, slots); ``headroom`` the tightest in the step,
    ``needed`` how many replicas the scaling rules wanted at most, None while metrics were unknown."""

    at: datetime
    capacity: list[float]
    promised: list[float]
    use: list[float]
    ready: float
    pending: float
    wanted: float
    headroom: Sequence[float] = (0.0, 0.0, 0.0)
    needed: int | None = None


class EntitlementPoint(NamedTuple):
    """One step of an entitlement's history."""

    at: datetime
    use: list[float]
    limit: list[float]
    debt: float
    admitted: int


def range_of(name: str | None) -> Range:
    """The range of a name in the address; the shortest for anything else."""
    return next((item for item in RANGES if item.name == name), RANGES[0])


def dimension_of(name: str | None) -> int:
    """0, 1 or 2 from a name in the address; tokens for anything else."""
    return next((index for index, (key, _) in enumerate(DIMENSIONS) if key == name), 0)


@dataclass(frozen=True, slots=True)
class Gauge:
    """One dimension of a pool: numbers in words and marks in percent of the bar."""

    key: str
    title: str
    text: str
    exact: str
    free: str
    room: str
    promised: str
    use_percent: float
    hold_percent: float
    promised_percent: float


def room_of(free_share: float) -> str:
    """good, low (under 15 % free) or none (under 1 %)."""
    return "none" if free_share < 0.01 else "low" if free_share < LOW_ROOM else "good"


def _percent(part: float, whole: float) -> float:
    return round(min(100.0, max(0.0, 100.0 * part / whole)), 2) if whole > 0 else 0.0


class Levels(Protocol):
    """What a gauge reads of a pool, or of all pools together: (tokens/s, KV bytes, slots) each."""

    @property
    def use(self) -> Sequence[float]: ...
    @property
    def capacity(self) -> Sequence[float]: ...
    @property
    def promised(self) -> Sequence[float]: ...
    @property
    def hold(self) -> Sequence[float]: ...


def gauges(state: Levels | None) -> list[Gauge]:
    """The three gauges of a pool; "no data" is not zero."""
    if state is None:
        return [
            Gauge(key, title, numbers.NONE, "no data", "no data", "unknown", "", 0, 0, 0) for key, title in DIMENSIONS
        ]
    return [_gauge(state, index) for index in range(3)]


def _gauge(state: Levels, index: int) -> Gauge:
    key, title = DIMENSIONS[index]
    use, capacity = state.use[index], state.capacity[index]
    share = max(0.0, 1 - use / capacity) if capacity else 0.0
    promised = _percent(state.promised[index], capacity)
    return Gauge(
        key=key,
        title=title,
        text=numbers.of(use, capacity, index),
        exact=f"{numbers.exact(use)} of {numbers.exact(capacity, numbers.DIMENSION_UNITS[index])}",
        free=f"{numbers.percent(share)} free" if capacity else "no capacity",
        room=room_of(share),
        promised=f"{round(100 * state.promised[index] / capacity)}{numbers.GAP}% promised" if capacity else "",
        use_percent=_percent(use, capacity),
        hold_percent=min(_percent(state.hold[index], capacity), 100 - _percent(use, capacity)),
        promised_percent=promised,
    )


@dataclass(frozen=True, slots=True)
class Bullet:
    """Use against limit and cap of one entitlement in one dimension."""

    key: str
    text: str
    cap: str
    exact: str
    use_percent: float
    base_percent: float
    limit_percent: float


def bullet(row: LiveRow, index: int) -> Bullet:
    """The bar runs to the largest of cap, limit and use."""
    use, limit, cap, base = row.use[index], row.limit[index], row.cap[index], row.base[index]
    whole = max(cap, limit, use, base)
    return Bullet(
        key=DIMENSIONS[index][0],
        text=numbers.of(use, limit, index),
        cap=numbers.amount(cap, index),
        exact=f"use {numbers.exact(use)}, limit {numbers.exact(limit)}, cap {numbers.exact(cap)}, "
        f"baseline {numbers.exact(base, numbers.DIMENSION_UNITS[index])}",
        use_percent=_percent(use, whole),
        base_percent=_percent(base, whole),
        limit_percent=_percent(limit, whole),
    )


def bullets(row: LiveRow | None) -> list[Bullet | None]:
    """One bullet per dimension; None where nothing is known."""
    return [bullet(row, index) if row is not None else None for index in range(3)]


def debt_words(debt: float) -> str:
    """Debt as a sentence's end: what is owed, or what was had above the promise."""
    if debt > 0.005:
        return f"owed {numbers.percent(debt)}"
    if debt < -0.005:
        return f"above {numbers.percent(-debt)}"
    return "even"


class Fit(NamedTuple):
    """How many requests of the usual size fit now, and which dimension binds first."""

    requests: int
    binds: int


def fit(row: LiveRow, mean: Triple) -> Fit:
    """``mean`` is the usual request: (tokens in all, KV bytes, slots); the room is the entitlement's own headroom.

    Tokens are a rate: the room of ten seconds (the bucket) is what can be asked for at once.
    """
    counts = []
    for index in range(3):
        left = row.headroom[index] * (BUCKET_SECONDS if index == 0 else 1.0)
        counts.append(max(0, int(left // mean[index])) if mean[index] > 0 else 1_000_000)
    binds = min(range(3), key=lambda index: counts[index])
    return Fit(counts[binds], binds)


def fit_sentence(row: LiveRow, found: Fit) -> str:
    """What the tenant's home page says first."""
    name = ("token budget", "KV cache", "concurrency")[found.binds]
    ceiling = numbers.of(row.use[found.binds], row.limit[found.binds], found.binds)
    if found.requests == 0:
        return f"No further request of your usual size fits right now. What binds: {name} ({ceiling})."
    many = "request" if found.requests == 1 else "requests"
    about = f"You can send about {found.requests:,} more {many} of your usual size now."
    return f"{about} What binds first: {name} ({ceiling})."


def state_sentence(state: LiveState | None) -> str:
    """The pool page's first sentence: the tick's own, or what is missing."""
    if state is None:
        return "No live data: the tick has not written a state of this pool in the last minute."
    return state.sentence or "The pool is being measured."


def stacked(names: Sequence[tuple[int, str, str]], most: int) -> tuple[list[tuple[int, str, str]], list[int]]:
    """Which tenants get their own layer in a stack (the first ``most``) and the ids gathered as "others"."""
    return list(names[:most]), [item[0] for item in names[most:]]
