"""What really happened in a pool, as a replay of other terms needs it: levels by the step, refusals, contended times.

Short spans are read from the samples of every few seconds, long ones from the roll-up by minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from django.db import connection

from pools.mechanism.ordering import Floats, Whole

ORIGIN = "timestamptz 'epoch'"
FINE = timedelta(hours=2)
"""Longer spans are read from minutes."""
SAMPLE_MS, MINUTE_MS = 5_000, 60_000


@dataclass(frozen=True, slots=True)
class Level:
    """One step of a pool: E' entitlements that were sampled in it; ``capacity`` [3]; use, limit [E',3]; demand (tokens
    per second), debt, burst [E']."""

    at: datetime
    capacity: Floats
    ids: Whole
    use: Floats
    limit: Floats
    demand: Floats
    debt: Floats
    burst: Floats


class Refused(NamedTuple):
    """``many`` requests of an entitlement refused between two moments (ms) for one reason."""

    entitlement_id: int
    from_ms: int
    until_ms: int
    code: str
    many: int


_LEVELS = f"""
SELECT date_bin(%s::interval, at, {ORIGIN}) AS bin, entitlement_id,
    avg(use_tokens_per_second), avg(use_kv_bytes)::float, avg(use_concurrency),
    avg(limit_tokens_per_second), avg(limit_kv_bytes)::float, avg(limit_concurrency)::float,
    avg(demand_tokens_per_second), avg(debt), avg(burst)
FROM {{table}} WHERE pool_id = %s AND at >= %s AND at < %s
GROUP BY bin, entitlement_id ORDER BY bin, entitlement_id
"""  # noqa: S608  built from constants only
_CAPACITY = f"""
SELECT date_bin(%s::interval, at, {ORIGIN}) AS bin, avg(capacity[1]), avg(capacity[2]), avg(capacity[3])
FROM {{table}} WHERE pool_id = %s AND at >= %s AND at < %s GROUP BY bin
"""  # noqa: S608  built from constants only
_REFUSED = """
SELECT at, elapsed_s, entitlement_id, reason.key, reason.value::bigint
FROM {table}, LATERAL jsonb_each_text(refused) AS reason
WHERE pool_id = %s AND at >= %s AND at < %s AND refused <> '{{}}' AND entitlement_id = ANY(%s)
ORDER BY at, entitlement_id, reason.key
"""
_CONTENDED = "SELECT at FROM {table} WHERE pool_id = %s AND at >= %s AND at < %s AND contended ORDER BY at"


def _fine(start: datetime, end: datetime) -> bool:
    return end - start <= FINE


def levels_between(pool_id: int, start: datetime, end: datetime, step: timedelta) -> list[Level]:
    """The steps of a span in which anything was sampled, in order. Two queries."""
    kind = "sample" if _fine(start, end) else "minute"
    values: list[str | int | datetime] = [f"{step.total_seconds()} seconds", pool_id, start, end]
    with connection.cursor() as cursor:
        cursor.execute(_CAPACITY.format(table=f"pools_pool{kind}"), values)
        capacities = {row[0]: np.array(row[1:], dtype=float) for row in cursor.fetchall()}
        cursor.execute(_LEVELS.format(table=f"pools_entitlement{kind}"), values)
        rows = cursor.fetchall()
    found: list[Level] = []
    first = 0
    for place in range(1, len(rows) + 1):
        if place < len(rows) and rows[place][0] == rows[first][0]:
            continue
        at, part = rows[first][0], rows[first:place]
        first = place
        if at in capacities:
            table = np.array([row[2:] for row in part], dtype=float)
            ids = np.array([row[1] for row in part], dtype=np.int64)
            parts = (table[:, :3], table[:, 3:6], table[:, 6], table[:, 7], table[:, 8])
            found.append(Level(at, capacities[at], ids, *parts))
    return found


def refusals_between(pool_id: int, entitlement_ids: Sequence[int], start: datetime, end: datetime) -> list[Refused]:
    """Refusals of some entitlements of a pool, each row for the time its count covers. One query."""
    fine = _fine(start, end)
    table = f"pools_entitlement{'sample' if fine else 'minute'}"
    with connection.cursor() as cursor:
        cursor.execute(_REFUSED.format(table=table), [pool_id, start, end, list(entitlement_ids)])
        found = []
        for at, elapsed_s, entitlement_id, code, many in cursor.fetchall():
            moment = round(at.timestamp() * 1000)
            # A sample ends at its moment, a minute begins at it.
            span = (moment - round(elapsed_s * 1000), moment) if fine else (moment, moment + MINUTE_MS)
            found.append(Refused(entitlement_id, *span, code, int(many)))
        return found


def contended_between(pool_id: int, start: datetime, end: datetime) -> list[tuple[int, int]]:
    """The times [from, until) in ms in which a pool was contended, in order, touching ones joined. One query."""
    fine = _fine(start, end)
    with connection.cursor() as cursor:
        cursor.execute(_CONTENDED.format(table=f"pools_pool{'sample' if fine else 'minute'}"), [pool_id, start, end])
        moments = [round(at.timestamp() * 1000) for (at,) in cursor.fetchall()]
    spans: list[tuple[int, int]] = []
    for moment in moments:
        begin, until = (moment - SAMPLE_MS, moment) if fine else (moment, moment + MINUTE_MS)
        if spans and begin <= spans[-1][1] + 500:
            spans[-1] = (spans[-1][0], until)
        else:
            spans.append((begin, until))
    return spans
