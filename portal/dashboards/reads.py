"""History for the charts: averaged per step by the database, a few hundred points whatever the range.

Short ranges are read from samples, a day from minutes, weeks and months from hours (``pools.selectors.rollups``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db import connection

from pools.selectors.live import live_latest
from pools.selectors.rollups import HOUR_S, headroom_sql, history_table
from portal.dashboards.live_state import LiveState, parse
from portal.dashboards.series import EntitlementPoint, PoolPoint, Range

USE_COLUMNS = ("use_tokens_per_second", "use_kv_bytes", "use_concurrency")
LIMIT_COLUMNS = ("limit_tokens_per_second", "limit_kv_bytes", "limit_concurrency")
ORIGIN = "TIMESTAMPTZ '2020-01-01'"


def live_text(pool_id: int) -> bytes | None:
    """The latest live message of a pool as written; None when there is none."""
    return live_latest([pool_id]).get(pool_id)


def live_states(pool_ids: Sequence[int]) -> dict[int, LiveState]:
    """The latest live state of each pool that has one, in one round trip."""
    states = {pool_id: parse(text) for pool_id, text in live_latest(pool_ids).items()}
    return {pool_id: state for pool_id, state in states.items() if state is not None}


def _rows(sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def pool_history(pool_id: int, span: Range, now: datetime) -> list[PoolPoint]:
    """Per step: the mean use, the tightest headroom, and what capacity, promises and replicas were last."""
    last = [f"(array_agg({name} ORDER BY at DESC))[1]" for name in ("ready", "pending", "wanted")]
    levels = [
        f"ARRAY[{', '.join(f'(array_agg({name}[{i}] ORDER BY at DESC))[1]' for i in (1, 2, 3))}]"
        for name in ("capacity", "promised")
    ]
    headroom = f"ARRAY[{', '.join(headroom_sql(span.step_s, d) for d in range(3))}]"
    columns = [*levels, "ARRAY[avg(use[1]), avg(use[2]), avg(use[3])]", *last, headroom, "max(needed)"]
    rows = _rows(
        f"SELECT date_bin(%s, at, {ORIGIN}) AS bin, {', '.join(columns)}"  # noqa: S608
        f" FROM {history_table('pool', span.step_s)} WHERE pool_id = %s AND at >= %s GROUP BY bin ORDER BY bin",
        [timedelta(seconds=span.step_s), pool_id, _since(span, now)],
    )
    return [
        PoolPoint(row[0], row[1], row[2], row[3], float(row[4]), float(row[5]), float(row[6]), row[7], row[8])
        for row in rows
    ]


def tenant_history(
    pool_id: int, span: Range, now: datetime, dimension: int, entitlement_ids: Sequence[int]
) -> list[tuple[datetime, int, float]]:
    """(step, tenant, mean use) of some entitlements of a pool in one dimension."""
    return [
        (at, tenant, float(value))
        for at, tenant, value in _rows(
            f"SELECT date_bin(%s, at, {ORIGIN}) AS bin, tenant_id, avg({USE_COLUMNS[dimension]})"  # noqa: S608
            f" FROM {history_table('entitlement', span.step_s)}"
            " WHERE entitlement_id = ANY(%s) AND pool_id = %s AND at >= %s GROUP BY bin, tenant_id ORDER BY bin",
            [timedelta(seconds=span.step_s), list(entitlement_ids), pool_id, _since(span, now)],
        )
    ]


def _since(span: Range, now: datetime) -> datetime:
    """The beginning of the range; of its first whole row where rows are wide."""
    since = now - timedelta(seconds=span.seconds)
    return since.replace(minute=0, second=0, microsecond=0) if span.step_s >= HOUR_S else since


def pool_refusals(pool_id: int, span: Range, now: datetime) -> list[tuple[datetime, str, int]]:
    """(bar, reason, count) of a pool."""
    return _refusals("pool", pool_id, span.bar_s, _since(span, now), span.step_s)


def entitlement_refusals(
    entitlement_id: int, bar_s: int, since: datetime, source_s: float = 0
) -> list[tuple[datetime, str, int]]:
    """(bar, reason, count) of one entitlement, from rows no wider than ``source_s`` (0: the samples)."""
    return _refusals("entitlement", entitlement_id, bar_s, since, source_s)


def _refusals(
    kind: Literal["pool", "entitlement"], value: int, bar_s: int, since: datetime, step_s: float
) -> list[tuple[datetime, str, int]]:
    rows = _rows(
        f"SELECT date_bin(%s, at, {ORIGIN}) AS bin, r.key, sum(r.value::float)"  # noqa: S608
        f" FROM {history_table(kind, step_s)}, LATERAL jsonb_each_text(refused) AS r"
        f" WHERE {kind}_id = %s AND at >= %s AND refused <> '{{}}' GROUP BY bin, r.key ORDER BY bin",
        [timedelta(seconds=bar_s), value, since],
    )
    return [(at, code, round(count)) for at, code, count in rows]


def entitlement_history(entitlement_id: int, span: Range, now: datetime) -> list[EntitlementPoint]:
    """Use, limit and debt of one entitlement per step."""
    columns = ", ".join(f"avg({name})" for name in (*USE_COLUMNS, *LIMIT_COLUMNS))
    rows = _rows(
        f"SELECT date_bin(%s, at, {ORIGIN}) AS bin, {columns}, avg(debt), sum(admitted)"  # noqa: S608
        f" FROM {history_table('entitlement', span.step_s)} WHERE entitlement_id = %s AND at >= %s"
        " GROUP BY bin ORDER BY bin",
        [timedelta(seconds=span.step_s), entitlement_id, _since(span, now)],
    )
    return [
        EntitlementPoint(r[0], [float(v) for v in r[1:4]], [float(v) for v in r[4:7]], float(r[7]), int(r[8]))
        for r in rows
    ]
