"""History of fairness for the pages: from samples for short ranges, from five minutes for a day, from hours beyond."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson
from django.db import connection

from pools.mechanism.lending import Loan, loans_sum
from pools.models import Entitlement
from pools.selectors.rollups import history_table
from portal.dashboards.series import Range

ORIGIN = "TIMESTAMPTZ '2020-01-01'"
FIVE_MINUTES_S, HOUR_S = 300, 3600
MOST_PAIRS = 400
RECENT = timedelta(seconds=60)


class FairPoint(NamedTuple):
    """One step: shares 0..1, None while nobody asked; levels of one dimension that were lent, unpromised, beyond."""

    at: datetime
    satisfied: float | None
    jain: float | None
    dispersion: float | None
    lent: float
    free: float
    beyond: float


class PoolFairness(NamedTuple):
    """A pool at its latest measure."""

    pool_id: int
    at: datetime
    active: float
    satisfied: float | None
    jain: float | None
    dispersion: float | None
    lent: list[float]


def _source(span: Range) -> tuple[str, str]:
    """Table and condition of a range's rows."""
    if span.step_s < FIVE_MINUTES_S:
        return "pools_fairnesssample", "true"
    return "pools_fairnessspan", f"span_s = {HOUR_S if span.step_s >= HOUR_S else FIVE_MINUTES_S}"


def _rows(sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def fairness_history(pool_id: int, span: Range, now: datetime, dimension: int) -> list[FairPoint]:
    """Measures of a pool step by step, averages by time."""
    table, which = _source(span)
    shares = ", ".join(
        f"sum({name} * elapsed_s) FILTER (WHERE {name} IS NOT NULL)"
        f" / nullif(sum(elapsed_s) FILTER (WHERE {name} IS NOT NULL), 0)"
        for name in ("satisfied", "jain", "dispersion")
    )
    levels = ", ".join(
        f"sum({name}[{dimension + 1}] * elapsed_s) / nullif(sum(elapsed_s), 0)" for name in ("lent", "free", "beyond")
    )
    rows = _rows(
        f"SELECT date_bin(%s, at, {ORIGIN}) AS bin, {shares}, {levels} FROM {table}"  # noqa: S608
        f" WHERE {which} AND pool_id = %s AND at >= %s GROUP BY bin ORDER BY bin",
        [timedelta(seconds=span.step_s), pool_id, now - timedelta(seconds=span.seconds)],
    )
    return [FairPoint(*row[:4], *(float(value or 0) for value in row[4:])) for row in rows]


def loans_total(pool_id: int, span: Range, now: datetime) -> tuple[list[Loan], float]:
    """(who used whose idle reserve over a range, as averages over the time measured; seconds measured)."""
    table, which = _source(span)
    rows = _rows(
        f"SELECT elapsed_s, loans FROM {table} WHERE {which} AND pool_id = %s AND at >= %s ORDER BY at",  # noqa: S608
        [pool_id, now - timedelta(seconds=span.seconds)],
    )
    seconds = sum(row[0] for row in rows)
    raw = table == "pools_fairnesssample"
    moments = ((row[0] if raw else 1.0, _loans(row[1])) for row in rows if row[1] != "[]")
    made = loans_sum(moments, MOST_PAIRS)
    if seconds <= 0:
        return [], 0.0
    return [
        Loan(loan.lender, loan.borrower, (loan.amount[0] / seconds, loan.amount[1] / seconds, loan.amount[2] / seconds))
        for loan in made
    ], seconds


def _loans(text: str) -> Iterator[Loan]:
    for lender, borrower, *amount in orjson.loads(text):
        yield Loan(lender, borrower, (amount[0], amount[1], amount[2]))


def debt_history(
    pool_id: int, ids: Sequence[int], span: Range, now: datetime
) -> dict[int, list[tuple[datetime, float]]]:
    """Mean debt of some entitlements of a pool, step by step."""
    found: dict[int, list[tuple[datetime, float]]] = {identity: [] for identity in ids}
    if not ids:
        return found
    for at, identity, debt in _rows(
        f"SELECT date_bin(%s, at, {ORIGIN}) AS bin, entitlement_id, avg(debt)"  # noqa: S608
        f" FROM {history_table('entitlement', span.step_s)}"
        " WHERE entitlement_id = ANY(%s) AND pool_id = %s AND at >= %s GROUP BY bin, entitlement_id ORDER BY bin",
        [timedelta(seconds=span.step_s), list(ids), pool_id, now - timedelta(seconds=span.seconds)],
    ):
        found[identity].append((at, round(float(debt), 4)))
    return found


def pools_latest(now: datetime) -> dict[int, PoolFairness]:
    """The latest measure of every pool that has one of the last minute. One query."""
    rows = _rows(
        "SELECT DISTINCT ON (pool_id) pool_id, at, active, satisfied, jain, dispersion, lent"
        " FROM pools_fairnesssample WHERE at >= %s ORDER BY pool_id, at DESC",
        [now - RECENT],
    )
    return {row[0]: PoolFairness(*row) for row in rows}


def names_of(ids: Sequence[int]) -> dict[int, tuple[str, str, str]]:
    """Entitlement id → (tenant's name, entitlement's slug, class); expired ones too."""
    rows = Entitlement.objects.filter(pk__in=list(ids)).values_list("pk", "tenant__name", "slug", "tier__service_class")
    return {pk: (name, slug, service_class) for pk, name, slug, service_class in rows}
