"""Partitions made ahead of time, so that rows land where old data can be dropped by the day; and the dropping.

A default partition catches rows nobody prepared for. Where it holds rows of a day that gets a partition of its own,
they move along: Postgres would refuse the partition otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import OperationalError, connection

from portal.lib.contention import contended, impatient

log = logging.getLogger(__name__)
AHEAD = 3
PATIENCE_S = 2.0
"""Making and dropping wants a table for itself, and while it waits everybody waits behind it: rather the next hour."""
_MOVE = """
WITH moved AS (DELETE FROM {default} WHERE {column} >= %s AND {column} < %s RETURNING *)
INSERT INTO {name} SELECT * FROM moved
"""
_ATTACH = "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"
_CHILDREN = """
SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
JOIN pg_class parent ON parent.oid = inhparent WHERE parent.relname = %s ORDER BY 1
"""
PARTITION_LOCK = 0x746F6B72  # advisory lock: one maintenance at a time


@dataclass(frozen=True, slots=True)
class Partitioned:
    """A table, the column and span of its partitions, and the setting that says for how many days rows are kept
    (empty: for ever)."""

    table: str
    column: str
    monthly: bool = False
    kept: str = ""


TABLES = (
    Partitioned("pools_entitlementsample", "at", kept="SAMPLE_DAYS"),
    Partitioned("pools_poolsample", "at", kept="SAMPLE_DAYS"),
    Partitioned("pools_entitlementminute", "at", kept="MINUTE_DAYS"),
    Partitioned("pools_poolminute", "at", kept="MINUTE_DAYS"),
    Partitioned("pools_entitlementhour", "at", monthly=True, kept="HOUR_DAYS"),
    Partitioned("pools_poolhour", "at", monthly=True, kept="HOUR_DAYS"),
    Partitioned("pools_fairnesssample", "at", kept="SAMPLE_DAYS"),
    Partitioned("pools_fairnessspan", "at", monthly=True, kept="HOUR_DAYS"),
    Partitioned("pools_reading", "at", kept="MINUTE_DAYS"),
    Partitioned("billing_usageevent", "settled_at"),
    Partitioned("billing_usageminute", "at"),
    Partitioned("billing_usagehour", "at", monthly=True),
)


def partitions_make(now: datetime, ahead: int = AHEAD) -> list[str]:
    """Makes the partitions of this span and the next ``ahead``; returns the names of those made now."""
    made = []
    for table in TABLES:
        for start, end in spans(table.monthly, now, ahead):
            name = partition_name(table, start)
            if _exists(name):
                continue
            with _patiently(name):
                if _make(table, name, start, end):
                    made.append(name)
    return made


def partitions_drop(now: datetime) -> list[str]:
    """Drops the partitions whose rows are all older than their table keeps them, and such rows of default partitions.

    Returns the names of the dropped ones. The caller has posted the ledger and rolled up before: both read samples.
    """
    dropped = []
    for table in TABLES:
        if not table.kept:
            continue
        oldest = now - timedelta(days=int(getattr(settings, table.kept)))
        for name in _children(table):
            with _patiently(name), connection.cursor() as cursor:
                if _over(table, name, oldest):
                    cursor.execute(f"DROP TABLE {connection.ops.quote_name(name)}")
                    dropped.append(name)
        with _patiently(table.table), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table.table}_default WHERE {table.column} < %s", [oldest])  # noqa: S608
    return dropped


def _children(table: Partitioned) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_CHILDREN, [table.table])
        return [name for (name,) in cursor.fetchall()]


@contextmanager
def _patiently(name: str) -> Iterator[None]:
    """A transaction that gives up where somebody is in its way; the next run tries again."""
    try:
        with impatient(PATIENCE_S):
            yield
    except OperationalError as error:
        if not contended(error):
            raise
        log.info("%s is in use; its maintenance waits for the next run", name)


def _over(table: Partitioned, name: str, oldest: datetime) -> bool:
    """Whether a partition ends before ``oldest``, read from its name; one that we did not name is left alone."""
    try:
        shape = "%Y%m" if table.monthly else "%Y%m%d"
        start = datetime.strptime(name.removeprefix(f"{table.table}_"), shape).replace(tzinfo=UTC)
    except ValueError:
        return False
    return all(end <= oldest for _, end in spans(table.monthly, start, 0))


def spans(monthly: bool, now: datetime, ahead: int) -> Iterator[tuple[datetime, datetime]]:
    """(start, end) of the present span and the next ones, in UTC."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = day.replace(day=1) if monthly else day
    for _ in range(ahead + 1):
        end = (start + timedelta(days=32)).replace(day=1) if monthly else start + timedelta(days=1)
        yield start, end
        start = end


def partition_name(table: Partitioned, start: datetime) -> str:
    """billing_usageevent_20260131, or billing_usagehour_202601 for a month."""
    return f"{table.table}_{start:%Y%m}" if table.monthly else f"{table.table}_{start:%Y%m%d}"


def _exists(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        return bool(cursor.fetchone()[0])


def _make(table: Partitioned, name: str, start: datetime, end: datetime) -> bool:
    """One partition: made aside, given the default partition's rows of its span, then attached."""
    default = f"{table.table}_default"
    span = [start, end]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [PARTITION_LOCK])
        if _exists(name):
            return False
        cursor.execute(f"CREATE TABLE {name} (LIKE {table.table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        cursor.execute(f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(_MOVE.format(default=default, column=table.column, name=name), span)
        cursor.execute(_ATTACH.format(table=table.table, name=name, start=start.isoformat(), end=end.isoformat()))
    return True
