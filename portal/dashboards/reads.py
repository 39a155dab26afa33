"""History for the charts: samples averaged per step by the database, a few hundred points whatever the range."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from pools.selectors.live import live_latest
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
    """Per step: the mean use, and what capacity, promises and replicas were last."""
    last = {name: f"(array_agg({name} ORDER BY at DESC))[1]" for name in ("ready", "pending", "wanted")}
    levels = [
        f"ARRAY[{', '.join(f'(array_agg({name}[{i}] ORDER BY at DESC))[1]' for i in (1, 2, 3))}]"
        for name in ("capacity", "promised")
    ]
    arrays = ", ".join([*levels, "ARRAY[avg(use[1]), avg(use[2]), avg(use[3])]", *last.values()])
    rows = _rows(
        f"SELECT date_bin(%s, at, {ORIGIN}) AS bin, {arrays}"  # noqa: S608
        " FROM pools_poolsample WHERE pool_id = %s AND at >= %s GROUP BY bin ORDER BY bin",
        [timedelta(seconds=span.step_s), pool_id, now - timedelta(seconds=span.seconds)],
    )
    return [PoolPoint(row[0], row[1], row[2], row[3], float(row[4]), float(row[5]), float(row[6])) for row in rows]


def tenant_history(pool_id: int, span: Range, now: datetime, dimension: int) -> list[tuple[datetime, int, float]]:
    """(step, tenant, mean use) of every tenant of a pool in one dimension."""
    return [
        (at, tenant, float(value))
        for at, tenant, value in _rows(
            f"SELECT date_bin(%s, at, {ORIGIN}) AS bin, tenant_id, avg({USE_COLUMNS[dimension]})"  # noqa: S608
            " FROM pools_entitlementsample WHERE pool_id = %s AND at >= %s GROUP BY bin, tenant_id ORDER BY bin",
            [timedelta(seconds=span.step_s), pool_id, now - timedelta(seconds=span.seconds)],
        )
    ]


def pool_refusals(pool_id: int, span: Range, now: datetime) -> list[tuple[datetime, str, int]]:
    """(bar, reason, count) of a pool."""
    return _refusals("pools_poolsample", "pool_id", pool_id, span.bar_s, now - timedelta(seconds=span.seconds))


def entitlement_refusals(entitlement_id: int, step_s: int, since: datetime) -> list[tuple[datetime, str, int]]:
    """(bar, reason, count) of one entitlement."""
    return _refusals("pools_entitlementsample", "entitlement_id", entitlement_id, step_s, since)


def _refusals(table: str, column: str, value: int, step_s: int, since: datetime) -> list[tuple[datetime, str, int]]:
    rows = _rows(
        f"SELECT date_bin(%s, at, {ORIGIN}) AS bin, r.key, sum(r.value::float)"  # noqa: S608
        f" FROM {table}, LATERAL jsonb_each_text(refused) AS r WHERE {column} = %s AND at >= %s"
        " GROUP BY bin, r.key ORDER BY bin",
        [timedelta(seconds=step_s), value, since],
    )
    return [(at, code, round(count)) for at, code, count in rows]


def entitlement_history(entitlement_id: int, span: Range, now: datetime) -> list[EntitlementPoint]:
    """Use, limit and debt of one entitlement per step."""
    columns = ", ".join(f"avg({name})" for name in (*USE_COLUMNS, *LIMIT_COLUMNS))
    rows = _rows(
        f"SELECT date_bin(%s, at, {ORIGIN}) AS bin, {columns}, avg(debt), sum(admitted)"  # noqa: S608
        " FROM pools_entitlementsample WHERE entitlement_id = %s AND at >= %s GROUP BY bin ORDER BY bin",
        [timedelta(seconds=span.step_s), entitlement_id, now - timedelta(seconds=span.seconds)],
    )
    return [
        EntitlementPoint(r[0], [float(v) for v in r[1:4]], [float(v) for v in r[4:7]], float(r[7]), int(r[8]))
        for r in rows
    ]
