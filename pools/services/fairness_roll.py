"""Roll-ups of fairness: five minutes from samples, hours from five minutes. Bounded work, safe any number of times.

A span that was rolled up before it was over is made anew by the next run, whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import connection, transaction

from pools.mechanism.lending import loans_sum
from pools.services.fairness import COLUMNS, loans_json, loans_read

FIVE_MINUTES_S, HOUR_S = 300, 3600
MOST_PAIRS = 128
MOST_SPANS = 36
"""One run catches up at most so far (three hours of five minutes, a day and a half of hours); the next goes on."""
LOOKS_BACK = timedelta(days=3)
ROLL_LOCK = 0x746F6B74  # advisory lock: one roll-up at a time
ORIGIN = "TIMESTAMPTZ '2020-01-01 00:00:00+00'"
MEASURES = ("satisfied", "jain", "dispersion")
SOURCES = {
    FIVE_MINUTES_S: ("pools_fairnesssample", "true", "satisfied"),
    HOUR_S: ("pools_fairnessspan", "span_s = 300", "satisfied_least"),
}
"""Of each level: the table it reads, which rows of it, and its column of the lowest satisfied share."""
NAMES = [name.strip() for name in COLUMNS.split(",")]
WRITE = f"""
INSERT INTO pools_fairnessspan (span_s, satisfied_least, {COLUMNS})
VALUES ({", ".join(["%s"] * (len(NAMES) + 2))})
ON CONFLICT (span_s, at, pool_id) DO UPDATE SET satisfied_least = excluded.satisfied_least,
    {", ".join(f"{name} = excluded.{name}" for name in NAMES if name not in ("at", "pool_id"))}
"""  # noqa: S608  built from the names above only


def fairness_roll(now: datetime) -> int:
    """Rolls up what was measured since the last time; returns how many spans were made."""
    return sum(_level(span_s, now) for span_s in (FIVE_MINUTES_S, HOUR_S))


@transaction.atomic
def _level(span_s: int, now: datetime) -> int:
    table, which, least = SOURCES[span_s]
    step = timedelta(seconds=span_s)
    made = 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ROLL_LOCK])
        cursor.execute("SELECT max(at) FROM pools_fairnessspan WHERE span_s = %s", [span_s])
        since = cursor.fetchone()[0] or now - LOOKS_BACK
        while made < MOST_SPANS:
            cursor.execute(
                f"SELECT date_bin(%s, min(at), {ORIGIN}) FROM {table} WHERE {which} AND at >= %s",  # noqa: S608
                [str(step), since],
            )
            start = cursor.fetchone()[0]
            if start is None:
                break
            since = start + step
            cursor.execute(
                f"SELECT {COLUMNS}, {least} FROM {table} WHERE {which} AND at >= %s AND at < %s ORDER BY pool_id, at",  # noqa: S608
                [start, since],
            )
            for _, mine in groupby(cursor.fetchall(), key=itemgetter(1)):
                cursor.execute(WRITE, _span(span_s, start, list(mine)))
            made += 1
    return made


def _span(span_s: int, at: datetime, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """One row of ``WRITE`` from the rows of one pool in one span. Loans of samples are levels: times their seconds."""
    parts = [dict(zip([*NAMES, "least"], row, strict=True)) for row in rows]
    seconds = [part["elapsed_s"] for part in parts]
    raw = span_s == FIVE_MINUTES_S
    made = loans_sum(
        ((part["elapsed_s"] if raw else 1.0, loans_read(part["loans"])) for part in parts if part["loans"] != "[]"),
        MOST_PAIRS,
    )
    arrays = [
        [_mean([part[name][d] for part in parts], seconds) for d in range(3)] for name in ("lent", "free", "beyond")
    ]
    measures = [_mean([part[name] for part in parts], seconds) for name in MEASURES]
    least = min((part["least"] for part in parts if part["least"] is not None), default=None)
    active = _mean([part["active"] for part in parts], seconds)
    return [span_s, least, at, parts[0]["pool_id"], sum(seconds), active, *measures, *arrays, loans_json(made)]


def _mean(values: Iterable[float | None], seconds: Sequence[float]) -> float | None:
    """The mean by time of what is known; None when nothing is."""
    known = [(value, weight) for value, weight in zip(values, seconds, strict=True) if value is not None]
    whole = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / whole if whole > 0 else None
