"""Reading alerts, rules, channels and deliveries for pages; how many are open; the history of a metric for a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import orjson
from django.db import connection
from django.db.models import Case, Count, Q, QuerySet, Value, When

from pools.models import Alert, AlertDelivery, AlertRule
from pools.models.alerts import Metric
from portal.lib.hot import hot

OPEN_KEY = "tp:alerts:open"
VALUES_KEY = "tp:alerts:values"
OPEN_KEPT_S = 60
MOST_OPEN = 100
PAGE = 50
SEVERE_FIRST = ("critical", "warning", "notice")
Rows = tuple[list[Any], int | None]


def open_by_level() -> dict[str, int]:
    """How many alerts are open, by level. One query."""
    rows = Alert.objects.filter(opened_at__isnull=False, cleared_at__isnull=True).order_by().values_list("level")
    return dict(rows.annotate(count=Count("pk")))


def open_counts() -> dict[str, int] | None:
    """The same as the watch last counted it: no query, for menus and tiles; None when it did not look for a minute."""
    text = cast(bytes | None, hot().get(OPEN_KEY))
    return {str(level): int(count) for level, count in orjson.loads(text).items()} if text else None


def values_latest() -> dict[int, dict[str, float | None]]:
    """Pool id → metric → value as the watch last saw them; {} when it did not look for a minute. No query."""
    text = cast(bytes | None, hot().get(VALUES_KEY))
    rows: dict[str, list[float | None]] = orjson.loads(text) if text else {}
    return {int(pool_id): dict(zip((str(m) for m in Metric), row, strict=False)) for pool_id, row in rows.items()}


def open_alerts() -> list[Alert]:
    """Open alerts, the severe first, then the oldest; at most 100."""
    rows = Alert.objects.filter(opened_at__isnull=False, cleared_at__isnull=True).select_related("rule", "pool")
    severe = Case(*(When(level=name, then=Value(place)) for place, name in enumerate(SEVERE_FIRST)), default=Value(1))
    return list(rows.order_by(severe, "opened_at", "pk")[:MOST_OPEN])


def rules() -> list[AlertRule]:
    """Every rule with its channels, how many of its alerts are open and about to open."""
    living = Q(alerts__cleared_at__isnull=True)
    counted = AlertRule.objects.annotate(
        open=Count("alerts", filter=living & Q(alerts__opened_at__isnull=False)),
        pending=Count("alerts", filter=living & Q(alerts__opened_at__isnull=True, alerts__since__isnull=False)),
    )
    return list(counted.select_related("pool").prefetch_related("channels").order_by("name")[:500])


def alerts_past(rule_id: int | None, pool_id: int | None, level: str, cursor: int | None, most: int = PAGE) -> Rows:
    """Alerts that opened, newest first, by page."""
    rows: QuerySet[Any] = Alert.objects.filter(opened_at__isnull=False).select_related("rule", "pool")
    if rule_id is not None:
        rows = rows.filter(rule_id=rule_id)
    if pool_id is not None:
        rows = rows.filter(pool_id=pool_id)
    if level:
        rows = rows.filter(level=level)
    return _cut(rows, cursor, most)


def deliveries(state: str, channel_id: int | None, event: str, cursor: int | None) -> Rows:
    """Deliveries, newest first, by page."""
    rows: QuerySet[Any] = AlertDelivery.objects.select_related("channel", "alert__rule", "alert__pool")
    for name, value in (("state", state), ("event", event), ("channel_id", channel_id)):
        if value:
            rows = rows.filter(**{name: value})
    return _cut(rows, cursor)


def _cut(rows: QuerySet[Any], cursor: int | None, most: int = PAGE) -> Rows:
    if cursor is not None:
        rows = rows.filter(pk__lt=cursor)
    found = list(rows.order_by("-pk")[: most + 1])
    return found[:most], found[most - 1].pk if len(found) > most else None


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One pool in one step: the value farthest from good in it."""

    at: datetime
    pool_id: int
    value: float


_HISTORY = """
SELECT date_bin(%s, at, TIMESTAMPTZ '2020-01-01 00:00:00+00') AS bin, pool_id, {fold}(metrics[%s])
FROM pools_reading WHERE at >= %s {where} AND metrics[%s] IS NOT NULL GROUP BY bin, pool_id ORDER BY bin
"""
_WORST = """
SELECT pool_id FROM pools_reading WHERE at >= %s AND metrics[%s] IS NOT NULL
GROUP BY pool_id ORDER BY {fold}(metrics[%s]) {order}, pool_id LIMIT %s
"""


def metric_history(
    metric: str, below: bool, pool_ids: Sequence[int], since: datetime, step: timedelta
) -> list[MetricPoint]:
    """The worst value of each step (the lowest of a metric that is crossed downward) for some pools. One query."""
    place = list(Metric).index(Metric(metric)) + 1
    sql = _HISTORY.format(fold="min" if below else "max", where="AND pool_id = ANY(%s)")
    with connection.cursor() as cursor:
        given: Any = [step, place, since, list(pool_ids), place]
        cursor.execute(sql, given)
        return [MetricPoint(at, pool_id, float(value)) for at, pool_id, value in cursor.fetchall()]


def worst_pools(metric: str, below: bool, since: datetime, most: int) -> list[int]:
    """The pools whose values went farthest since a moment. One query."""
    place = list(Metric).index(Metric(metric)) + 1
    sql = _WORST.format(fold="min" if below else "max", order="ASC" if below else "DESC")
    with connection.cursor() as cursor:
        cursor.execute(sql, [since, place, place, most])
        return [pool_id for (pool_id,) in cursor.fetchall()]
