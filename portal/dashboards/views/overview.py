"""The operator's first page."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.models import Alert, Pool, ScalingDecision
from pools.selectors.overview import ALL_POOLS, PoolRow, overview_latest, overview_sentence, rows_fresh, totals_of
from portal.accounts.access import reads_everything
from portal.dashboards import figures, reads
from portal.dashboards.overview_figures import MOST_MARKS, total_replicas, total_use
from portal.dashboards.overview_tiles import tight_words, tiles
from portal.dashboards.series import DIMENSIONS, RANGES, Gauge, dimension_of, gauges, range_of
from portal.dashboards.views.common import json, page
from portal.lib.clock import now, now_ms

MOST_POOLS = 2000
MOST_SHOWN = 100
"""Pools in the table, the tightest; the pools page has all of them."""
MOST_LATEST = 8


class PoolLine(NamedTuple):
    """One line of the table; ``row`` None when the pool is silent."""

    pool: Pool
    row: PoolRow | None
    gauges: list[Gauge]
    tight: str


@reads_everything
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """All pools at a glance: who is short, who refuses, what the autoscaler last did. Charts come from :func:`charts`,
    numbers then from the websocket."""
    pools = list(Pool.objects.filter(archived_at__isnull=True).only("slug", "model_name", "max_replicas")[:MOST_POOLS])
    found = {row.pool_id: row for row in rows_fresh(now_ms())}
    fresh = [found[pool.pk] for pool in pools if pool.pk in found]
    totals = totals_of(fresh, {}) if fresh else None
    order = sorted(pools, key=lambda pool: (found[pool.pk].free if pool.pk in found else -1.0, pool.slug))
    span, dimension = range_of(request.GET.get("range")), dimension_of(request.GET.get("dimension"))
    latest = latest_context()
    context: dict[str, Any] = {
        "nav": "overview",
        "state": {"at_ms": max((row.at for row in fresh), default=None)},
        "sentence": overview_sentence(
            [(p.slug, found[p.pk].free if p.pk in found else None) for p in order],
            totals.refused_per_minute if totals else 0.0,
        ),
        "tiles": tiles(totals, latest["alerts_open"], latest["alerts_worst"]),
        "lines": [line_of(pool, found.get(pool.pk)) for pool in order[:MOST_SHOWN]],
        "pools": len(pools),
        "ranges": RANGES,
        "range": span,
        "dimensions": DIMENSIONS,
        "dimension": DIMENSIONS[dimension][0],
        **latest,
    }
    return page(request, "dashboards/overview.html", context, charts=True)


def line_of(pool: Pool, row: PoolRow | None) -> PoolLine:
    """A pool's line of the table."""
    return PoolLine(pool, row, gauges(row), tight_words(row) if row is not None else "no live data")


@reads_everything
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The whole state: what the page polls while its websocket is lost."""
    text = overview_latest()
    if text is None:
        return json({})
    message = orjson.loads(text)
    message.pop("seen", None)
    return json({**message, "full": True, "gone": []})


@reads_everything
@require_safe
def charts(request: HttpRequest) -> HttpResponse:
    """The page's figures over the range in the address: the sums of all pools."""
    span, dimension, moment = range_of(request.GET.get("range")), dimension_of(request.GET.get("dimension")), now()
    points = reads.pool_history(ALL_POOLS, span, moment)
    since = points[0].at if points else moment
    made = ScalingDecision.objects.filter(at__gte=since).exclude(before=F("chosen")).select_related("pool")
    marks = [
        (row.at, f"{row.pool.slug} {row.before} → {row.chosen}: {row.reason}")
        for row in made.order_by("-at")[:MOST_MARKS]
    ]
    return json(
        {
            "use": total_use(points, dimension),
            "refused": figures.refusals(reads.pool_refusals(ALL_POOLS, span, moment), span.bar_s),
            "replicas": total_replicas(points, marks[::-1]),
            "range": {"seconds": span.seconds, "step_s": span.step_s, "bar_s": span.bar_s},
            "empty": not points,
        }
    )


@reads_everything
@require_safe
def latest(request: HttpRequest) -> HttpResponse:
    """Latest decisions and open alerts alone, fetched every few seconds by the page."""
    return page(request, "dashboards/_overview_latest.html", latest_context())


def latest_context() -> dict[str, Any]:
    """The latest changes of replicas; alerts that are open, the severest level among them."""
    opened = Alert.objects.filter(opened_at__isnull=False, cleared_at__isnull=True)
    shown = list(opened.select_related("pool", "rule").order_by("-opened_at")[:MOST_LATEST])
    return {
        "decisions": list(
            ScalingDecision.objects.exclude(before=F("chosen"))
            .select_related("pool")
            .order_by("-at", "-pk")[:MOST_LATEST]
        ),
        "alerts": shown,
        "alerts_open": opened.count() if len(shown) == MOST_LATEST else len(shown),
        "alerts_worst": shown[0].level if shown else "",
    }
