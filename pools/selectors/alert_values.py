"""Every metric of every pool as it is now: what rules are held against. A handful of queries, whatever the number of
pools; unknown is None, never 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import orjson
from django.db.models import Count, Q

from pools.choices import EndpointState
from pools.mechanism.alerting import Totals, headroom_percent, refused_percent
from pools.models import Endpoint, Pool
from pools.models.alerts import Metric
from pools.selectors.overview import PoolRow, rows_read
from portal.lib.hot import hot

MOST_POOLS = 5000
FAILED_FOR = timedelta(minutes=5)
SILENT_SCRAPES = 3
TICK_MS = 1000
KNOWN_MS = 120_000
"""A row that is older says nothing about now, but that the tick is late."""
TOTALS_KEY = "tp:alerts:totals"
TOTALS_KEPT = 16
DIMENSION_NAMES = ("tokens/s", "KV cache", "concurrency")


@dataclass(frozen=True, slots=True)
class PoolValues:
    """``values`` by metric. ``details`` says more where a metric has it: the dimension, the id of an entitlement."""

    pool_id: int
    slug: str
    values: dict[str, float | None]
    details: dict[str, Any] = field(default_factory=dict)

    def row(self) -> list[float | None]:
        """In the order of ``Metric``, for a reading."""
        return [self.values.get(metric) for metric in Metric]


def drift_key(pool_id: int) -> str:
    """Where the last measurement of a pool's drift is kept."""
    return f"tp:drift:{pool_id}"


def alert_values(now: datetime, *, remember: bool = False) -> dict[int, PoolValues]:
    """By pool id. ``remember`` keeps the running totals for the next look (the watch does, a preview does not).

    Errors of the stores pass through.
    """
    rows = Pool.objects.filter(archived_at__isnull=True).order_by("pk")
    pools = list(rows.values_list("pk", "slug", "created_at", "wanted_replicas")[:MOST_POOLS])
    ids = [pool_id for pool_id, _, _, _ in pools]
    now_ms = int(now.timestamp() * 1000)
    rows_by_id = {row.pool_id: row for row in rows_read()}
    states = {pool_id: row for pool_id, row in rows_by_id.items() if now_ms - row.at < KNOWN_MS}
    totals = _totals(states, remember)
    failed, drifts = _failed(now), _drifts(ids)
    found = {}
    for pool_id, slug, created_at, wanted in pools:
        state = states.get(pool_id)
        values: dict[str, float | None] = {
            Metric.REFUSAL_RATE: refused_percent(totals.get(pool_id, ())) if state else None,
            Metric.TICK_LAG: _lag_ms(rows_by_id.get(pool_id), now_ms, created_at),
            Metric.DRIFT: drifts.get(pool_id),
            Metric.ENDPOINT_FAILURE: float(failed.get(pool_id, 0)),
        }
        details: dict[str, Any] = {}
        values[Metric.HEADROOM] = _headroom(state, wanted, details)
        values[Metric.DEBT] = _debt(state, details)
        found[pool_id] = PoolValues(pool_id, slug, values, details)
    return found


def _headroom(state: PoolRow | None, wanted: int, details: dict[str, Any]) -> float | None:
    if state is None:
        return None
    found = headroom_percent(state.capacity, state.hold, state.use)
    if found is None:  # no replica is ready: nothing is free, unless none is wanted
        return 0.0 if wanted else None
    details[Metric.HEADROOM] = DIMENSION_NAMES[found[1]]
    return found[0]


def _debt(state: PoolRow | None, details: dict[str, Any]) -> float | None:
    if state is None:
        return None
    if state.debtor:
        details[Metric.DEBT] = state.debtor
    return 100.0 * state.largest_debt


def _lag_ms(row: PoolRow | None, now_ms: int, created_at: datetime) -> float | None:
    """A tick that does not come at all is late by the age of its last row."""
    if row is not None:
        return float(max(row.lag_ms, now_ms - row.at - TICK_MS, 0))
    young = now_ms - created_at.timestamp() * 1000 < KNOWN_MS
    return None if young else float(KNOWN_MS)


def _totals(states: Mapping[int, PoolRow], remember: bool) -> dict[int, list[Totals]]:
    """The running totals seen in the last minute, the present ones last."""
    kept = cast(bytes | None, hot().get(TOTALS_KEY))
    before: dict[str, list[list[int]]] = orjson.loads(kept) if kept else {}
    found: dict[int, list[Totals]] = {}
    for pool_id, state in states.items():
        seen = [Totals(*one) for one in before.get(str(pool_id), ())]
        fresh = Totals(state.at, state.admitted_total, state.refused_total)
        if seen and any(new < old for new, old in zip(fresh, seen[-1], strict=True)):
            seen = []  # the store began anew
        if not seen or fresh.at_ms > seen[-1].at_ms:
            seen.append(fresh)
        found[pool_id] = seen[-TOTALS_KEPT:]
    if remember:
        kept_now = {str(key): [list(one) for one in seen] for key, seen in found.items()}
        hot().set(TOTALS_KEY, orjson.dumps(kept_now), ex=600)
    return found


def _failed(now: datetime) -> dict[int, int]:
    late = Q(state=EndpointState.FAILED.value, state_since__gt=now - FAILED_FOR)
    silent = Q(state=EndpointState.READY.value, missed_scrapes__gt=SILENT_SCRAPES)
    rows = Endpoint.objects.filter(late | silent).order_by().values_list("pool_id").annotate(count=Count("pk"))
    return {int(pool_id): int(count) for pool_id, count in rows}


def _drifts(ids: Sequence[int]) -> dict[int, float]:
    if not ids:
        return {}
    texts = cast(list[bytes | None], hot().mget([drift_key(pool_id) for pool_id in ids]))
    return {
        pool_id: float(orjson.loads(text)["sequences"])
        for pool_id, text in zip(ids, texts, strict=True)
        if text is not None
    }


def only(values: Mapping[int, PoolValues], pool_id: int | None) -> Iterable[PoolValues]:
    """Those of one pool, or of every pool."""
    if pool_id is None:
        return values.values()
    return [values[pool_id]] if pool_id in values else []
