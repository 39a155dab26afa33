"""Roll-ups of the samples: minutes from samples, hours from minutes. Bounded work, safe any number of times.

A mark per level says how far it came; a span is taken away and made anew in one transaction with the mark, so that a
crash, a second worker or a late sample never counts anything twice.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction

from pools.models import RollupMark
from pools.services.rollup_sql import entitlement_sql, pool_sql

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SETTLED_AFTER = timedelta(seconds=15)
"""A tick that runs late still lands in its minute before that is rolled up."""
LONGEST_S = 20.0
"""One run catches up for so long; the next goes on."""
LOOKS_BACK = timedelta(days=3)
"""Older samples than these are never read again: they are about to be dropped."""
ROLLUP_LOCK = 0x746F6B73  # advisory lock: one roll-up at a time


class Level(NamedTuple):
    """One step of the ladder: what it is called, what it reads, its span, and how much is made in one transaction."""

    name: str
    source: str
    span: timedelta
    chunk: timedelta


LEVELS = (Level("minute", "sample", MINUTE, 5 * MINUTE), Level("hour", "minute", HOUR, 6 * HOUR))


def rollups_make(now: datetime, *, longest_s: float = LONGEST_S) -> int:
    """Rolls up what was sampled since the last time; returns how many chunks were made."""
    begun, made = time.monotonic(), 0
    for level in LEVELS:
        while time.monotonic() - begun < longest_s and _step(level, now):
            made += 1
    return made


def rollups_reopen(at: datetime) -> None:
    """Samples of that moment came late: their minute, and the hour after it, are rolled up anew."""
    for level in LEVELS:
        RollupMark.objects.filter(level=level.name, until__gt=_floor(at, level.span)).update(
            until=_floor(at, level.span)
        )


@transaction.atomic
def _step(level: Level, now: datetime) -> bool:
    """One chunk; False when there is nothing (more) to do."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ROLLUP_LOCK])
    limit = _limit(level, now)
    mark = RollupMark.objects.select_for_update().filter(level=level.name).first()
    start = mark.until if mark is not None else _first(level, now)
    if start is None or start >= limit:
        return False
    end = min(start + level.chunk, limit)
    with connection.cursor() as cursor:
        for kind, sql in (("pool", pool_sql(level.name)), ("entitlement", entitlement_sql(level.name))):
            # An hour that was rolled up before it was over is made anew with all of its minutes.
            since, until = _floor(start, level.span), _ceil(end, level.span)
            cursor.execute(f"DELETE FROM pools_{kind}{level.name} WHERE at >= %s AND at < %s", [since, until])  # noqa: S608
            cursor.execute(sql, [since, until])
    RollupMark.objects.update_or_create(level=level.name, defaults={"until": end})
    return True


def _limit(level: Level, now: datetime) -> datetime:
    """Minutes wait until they are settled; the present hour is refreshed every five minutes, from the minutes there."""
    settled = _floor(now - SETTLED_AFTER, MINUTE)
    if level.span == MINUTE:
        return settled
    minutes = RollupMark.objects.filter(level="minute").values_list("until", flat=True).first()
    return _floor(min(minutes or settled, settled), 5 * MINUTE)


def _first(level: Level, now: datetime) -> datetime | None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT min(at) FROM pools_pool{level.source} WHERE at >= %s", [now - LOOKS_BACK])  # noqa: S608
        found: datetime | None = cursor.fetchone()[0]
    return _floor(found, level.span) if found is not None else None


def _floor(at: datetime, span: timedelta) -> datetime:
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    return begin + (at - begin) // span * span


def _ceil(at: datetime, span: timedelta) -> datetime:
    low = _floor(at, span)
    return low if low == at else low + span


def rollups_done(now: datetime) -> bool:
    """Whether every level is less than an hour behind: only then may old samples be dropped."""
    marks = dict(RollupMark.objects.values_list("level", "until"))
    return all(level.name in marks and now - marks[level.name] < HOUR for level in LEVELS)
