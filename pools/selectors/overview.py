"""All pools at a glance: one short row a pool, written by its tick; their sums once a second to the group ``overview``.

The overview reads these rows instead of the live messages, which carry every entitlement: 200 pools are 60 kB, not
megabytes. Arrays of three are (tokens per second, KV bytes, sequences). In history the sums are pool 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import orjson

from pools.selectors.live import LiveMessage
from portal.lib.hot import hot

ALL_POOLS = 0
"""The pool id of the sums in ``PoolSample``."""
GROUP = "overview"
ROWS_KEY, LATEST_KEY = "tp:overview", "tp:overview:latest"
VERSION = 1
FRESH_MS = 60_000
"""A pool that wrote no row for so long is silent."""
MOST_ROWS = 300
"""A message carries the rows of that many pools, the tightest; its sums are over all."""
LOW_ROOM = 0.15
OWED = 0.01
Amounts = list[float]


class PoolRow(NamedTuple):
    """One pool. ``refused`` counts by reason since the pool's previous row, ``refused_per_minute`` at that rate;
    ``waiting`` requests queue inside its endpoints; ``owed`` entitlements have a debt above 1 %, ``debtor`` is the id
    of the one with the ``largest_debt`` (0: there is none). The totals only grow."""

    pool_id: int
    at: int
    slug: str
    use: Amounts
    capacity: Amounts
    promised: Amounts
    hold: Amounts
    headroom: Amounts
    contended: bool
    ready: int
    pending: int
    draining: int
    wanted: int
    waiting: int
    refused: dict[str, int]
    refused_per_minute: float
    owed: int
    lag_ms: int
    admitted_total: int
    refused_total: int
    largest_debt: float
    debtor: int

    @property
    def free(self) -> float:
        """The smallest free share over the dimensions, 0 without any capacity."""
        return min((max(0.0, 1 - u / c) for u, c in zip(self.use, self.capacity, strict=True) if c > 0), default=0.0)

    def wire(self) -> list[Any]:
        """What travels to browsers, in the order of ``WIRE``."""
        return [
            self.pool_id,
            [round(self.use[0], 1), round(self.use[1]), round(self.use[2], 1)],
            [round(value) for value in self.capacity],
            [round(value) for value in self.promised],
            self.ready,
            self.pending,
            self.wanted,
            round(self.refused_per_minute, 1),
            self.waiting,
            int(self.contended),
        ]


WIRE = (
    "pool_id",
    "use",
    "capacity",
    "promised",
    "ready",
    "pending",
    "wanted",
    "refused_per_minute",
    "waiting",
    "contended",
)


def row_of(live: LiveMessage) -> PoolRow:
    """A pool's row from its live message."""
    pool = live.pool
    return PoolRow(
        pool.id,
        live.at,
        pool.slug,
        *(pool.use, pool.capacity, pool.promised, pool.hold, pool.headroom),
        pool.contended,
        *(pool.ready, pool.pending, pool.draining, pool.wanted, pool.waiting),
        pool.refused,
        round(sum(row[9] for row in live.rows), 1),
        sum(1 for row in live.rows if row[7] > OWED),
        pool.lag_ms,
        *(pool.admitted_total, pool.refused_total),
        *_largest_debt(live),
    )


def _largest_debt(live: LiveMessage) -> tuple[float, int]:
    worst = max(live.rows, key=lambda row: float(row[7]), default=None)
    return (max(0.0, float(worst[7])), int(worst[0])) if worst is not None else (0.0, 0)


def rows_read() -> list[PoolRow]:
    """Every row there is, however old, by pool id. One read of the hot store."""
    return sorted(rows_of(cast(dict[bytes, bytes], hot().hgetall(ROWS_KEY))).values())


def rows_of(found: Mapping[bytes, bytes]) -> dict[int, PoolRow]:
    """The rows in the hash as the store gives it, by pool id."""
    rows = {}
    for text in found.values():
        fields = orjson.loads(text)
        if len(fields) == len(PoolRow._fields):  # else of another make; the next tick replaces it
            rows[int(fields[0])] = PoolRow(*fields)
    return rows


def overview_latest() -> bytes | None:
    """The latest message with the sums, as written; None when there is none."""
    return cast(bytes | None, hot().get(LATEST_KEY))


def rows_fresh(now_ms: int) -> list[PoolRow]:
    """The rows of the pools that are not silent."""
    return [row for row in rows_read() if now_ms - row.at < FRESH_MS]


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over pools; ``pools`` is how many report, ``lag_ms`` the latest tick's."""

    pools: int
    use: Amounts
    capacity: Amounts
    promised: Amounts
    hold: Amounts
    headroom: Amounts
    contended: int
    ready: int
    pending: int
    draining: int
    wanted: int
    waiting: int
    refused: dict[str, int]
    refused_per_minute: float
    owed: int
    lag_ms: int


def totals_of(rows: Sequence[PoolRow], refused: dict[str, int]) -> Totals:
    """Sums of rows; ``refused`` is counted by the caller, who knows which rows are new."""

    def amounts(name: str) -> Amounts:
        return [round(sum(getattr(row, name)[d] for row in rows), 2) for d in range(3)]

    def count(name: str) -> int:
        return sum(int(getattr(row, name)) for row in rows)

    return Totals(
        pools=len(rows),
        use=amounts("use"),
        capacity=amounts("capacity"),
        promised=amounts("promised"),
        hold=amounts("hold"),
        headroom=amounts("headroom"),
        contended=count("contended"),
        ready=count("ready"),
        pending=count("pending"),
        draining=count("draining"),
        wanted=count("wanted"),
        waiting=count("waiting"),
        refused=refused,
        refused_per_minute=round(sum(row.refused_per_minute for row in rows), 1),
        owed=count("owed"),
        lag_ms=max((row.lag_ms for row in rows), default=0),
    )


def overview_sentence(free: Sequence[tuple[str, float | None]], refused_per_minute: float = 0.0) -> str:
    """What the overview is opened for: is anything short? ``free``: (slug, smallest free share, None when silent).

    Requests are refused at limits of their own, too: room to spare alone would not be the whole truth."""
    if not free:
        return "There is no pool yet."
    silent = [slug for slug, share in free if share is None]
    short = [slug for slug, share in free if share is not None and share < LOW_ROOM]
    if silent:
        return f"{len(silent)} of {_pools(len(free))} {_verb(len(silent), 'send')} no live data: {_names(silent)}."
    if short:
        return f"{len(short)} of {_pools(len(free))} {_verb(len(short), 'have')} little room left: {_names(short)}."
    room = "Every pool has room to spare" if len(free) > 1 else "The pool has room to spare"
    count = round(refused_per_minute)
    told = f"; {count:,} {'request a minute is' if count == 1 else 'requests a minute are'} refused" if count else ""
    return f"{room}{told}."


def _pools(count: int) -> str:
    return f"{count} {'pool' if count == 1 else 'pools'}"


def _verb(count: int, verb: str) -> str:
    return verb if count != 1 else {"send": "sends", "have": "has"}[verb]


def _names(slugs: Sequence[str]) -> str:
    more = f" and {len(slugs) - 4} more" if len(slugs) > 4 else ""
    return ", ".join(slugs[:4]) + more
