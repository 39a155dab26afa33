"""History in bounded points: averaged in equal steps by the database, whatever the range, from samples or roll-ups."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from pools.selectors.rollups import history_table, whole_step_s
from portal.accounts.viewer import Viewer
from portal.lib.errors import DomainError

MOST_POINTS = 500
SMALLEST_STEP_S = 5
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Range:
    """A span of time and the step it is averaged in. Raises DomainError ``bad_range`` for an end before its start."""

    start: datetime
    end: datetime
    points: int = 240

    def __post_init__(self) -> None:
        if self.end <= self.start or not 1 <= self.points <= MOST_POINTS:
            raise DomainError("bad_range", f"A range ends after it starts and has 1 to {MOST_POINTS} points: {self}")

    @property
    def step(self) -> timedelta:
        """Whole multiples of five seconds, of a minute or an hour when it is longer, so that no row is split."""
        seconds = (self.end - self.start).total_seconds() / self.points
        return timedelta(seconds=whole_step_s(max(SMALLEST_STEP_S, -(-seconds // SMALLEST_STEP_S) * SMALLEST_STEP_S)))


@dataclass(frozen=True, slots=True)
class UsePoint:
    """One entitlement in one step: means of use and limit (tokens/s, bytes, sequences), weight and debt; counts of
    admitted requests and refusals."""

    at: datetime
    entitlement_id: int
    tenant_id: int
    use: Triple
    limit: Triple
    weight: float
    debt: float
    admitted: int
    refused: dict[str, int]


@dataclass(frozen=True, slots=True)
class PoolPoint:
    """One pool in one step: means of capacity, promises and use; the last numbers of replicas in it."""

    at: datetime
    capacity: Triple
    promised: Triple
    use: Triple
    ready: int
    pending: int
    wanted: int
    lag_ms: int


_BIN = "date_bin(%s::interval, at, TIMESTAMPTZ '2020-01-01 00:00:00+00') AS bin"
_USE = """
SELECT {bin}, entitlement_id, tenant_id,
    avg(use_tokens_per_second), avg(use_kv_bytes)::float, avg(use_concurrency),
    avg(limit_tokens_per_second), avg(limit_kv_bytes)::float, avg(limit_concurrency)::float,
    avg(weight), avg(debt), sum(admitted)::bigint
FROM {table} WHERE pool_id = %s AND at >= %s AND at < %s
GROUP BY bin, entitlement_id, tenant_id ORDER BY bin, entitlement_id
"""
_REFUSED = """
SELECT {bin}, entitlement_id, reason.key, sum(reason.value::bigint)::bigint
FROM {table}, LATERAL jsonb_each_text(refused) AS reason
WHERE pool_id = %s AND at >= %s AND at < %s AND refused <> '{{}}' GROUP BY 1, 2, 3
"""
_POOL = """
SELECT {bin},
    avg(capacity[1]), avg(capacity[2]), avg(capacity[3]), avg(promised[1]), avg(promised[2]), avg(promised[3]),
    avg(use[1]), avg(use[2]), avg(use[3]),
    (array_agg(ready ORDER BY at DESC))[1], (array_agg(pending ORDER BY at DESC))[1],
    (array_agg(wanted ORDER BY at DESC))[1], max(lag_ms)
FROM {table} WHERE pool_id = %s AND at >= %s AND at < %s GROUP BY bin ORDER BY bin
"""


def use_history(viewer: Viewer, pool_id: int, span: Range) -> list[UsePoint]:
    """Every entitlement of a pool that the viewer may see, step by step. Two queries."""
    values: list[str | int | datetime] = [f"{span.step.total_seconds()} seconds", pool_id, span.start, span.end]
    with viewer.scope(), connection.cursor() as cursor:
        names = {"table": history_table("entitlement", span.step.total_seconds()), "bin": _BIN}
        cursor.execute(_REFUSED.format(**names), values)
        refused: dict[tuple[datetime, int], dict[str, int]] = {}
        for at, entitlement_id, code, count in cursor.fetchall():
            refused.setdefault((at, entitlement_id), {})[code] = int(count)
        cursor.execute(_USE.format(**names), values)
        return [
            UsePoint(
                row[0],
                row[1],
                row[2],
                (float(row[3]), row[4], float(row[5])),
                (float(row[6]), row[7], row[8]),
                float(row[9]),
                float(row[10]),
                int(row[11]),
                refused.get((row[0], row[1]), {}),
            )
            for row in cursor.fetchall()
        ]


def pool_history(pool_id: int, span: Range) -> list[PoolPoint]:
    """A pool step by step, for viewers of the platform (tenants have no right to the table). One query."""
    with connection.cursor() as cursor:
        step_s = span.step.total_seconds()
        sql = _POOL.format(table=history_table("pool", step_s), bin=_BIN)
        cursor.execute(sql, [f"{step_s} seconds", pool_id, span.start, span.end])
        return [
            PoolPoint(row[0], row[1:4], row[4:7], row[7:10], row[10], row[11], row[12], row[13])
            for row in cursor.fetchall()
        ]
