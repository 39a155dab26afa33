"""The figures of a pool's page: use by tenant, refusals, headroom, replicas; from samples or roll-ups."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.choices import EntitlementState
from pools.models import Entitlement, Pool, ScalingDecision
from pools.web.pool_common import pool_of
from portal.accounts.access import reads_everything
from portal.dashboards import figures, pool_figures, reads
from portal.dashboards.live_state import most_used
from portal.dashboards.series import PoolPoint, dimension_of, range_of
from portal.dashboards.views.common import json
from portal.dashboards.views.pool import class_order
from portal.lib.clock import now

MOST_LAYERS = 14
MOST_MARKS = 200


class Layer(NamedTuple):
    """One layer of the stack: who, under which entitlement, of which class."""

    tenant_id: int
    name: str
    service_class: str
    entitlement_id: int


@reads_everything
@require_safe
def charts(request: HttpRequest, slug: str) -> HttpResponse:
    """The page's figures over the range in the address."""
    found = pool_of(slug)
    span, dimension, moment = range_of(request.GET.get("range")), dimension_of(request.GET.get("dimension")), now()
    points = reads.pool_history(found.pk, span, moment)
    layers, more = layers_of(found, most_used(reads.live_text(found.pk), dimension, MOST_LAYERS))
    uses: dict[int, dict[datetime, float]] = {}
    ids = [layer.entitlement_id for layer in layers]
    for at, tenant_id, value in reads.tenant_history(found.pk, span, moment, dimension, ids):
        series = uses.setdefault(tenant_id, {})
        series[at] = series.get(at, 0.0) + value
    if more:
        uses[0] = _others(points, uses, dimension)
    since = points[0].at if points else moment
    made = ScalingDecision.objects.filter(pool=found, at__gte=since).exclude(before=F("chosen")).order_by("-at")
    marks = [(row.at, row.chosen, f"{row.before} → {row.chosen}: {row.reason}") for row in made[:MOST_MARKS]]
    stack = [(layer.tenant_id, layer.name, layer.service_class) for layer in layers]
    stack += [(0, f"{more} others", "other")] if more else []
    return json(
        {
            "use": figures.use_by_tenant(points, uses, stack, dimension),
            "refused": figures.refusals(reads.pool_refusals(found.pk, span, moment), span.bar_s),
            "headroom": pool_figures.headroom(points),
            "replicas": pool_figures.replicas(points, marks[::-1]),
            "range": {"seconds": span.seconds, "step_s": span.step_s, "bar_s": span.bar_s},
            "rows": ids,
            "empty": not points,
        }
    )


def layers_of(found: Pool, busiest: list[int]) -> tuple[list[Layer], int]:
    """Who gets a layer: the ``busiest`` entitlements (without live numbers the first); and how many do not."""
    rows = Entitlement.objects.filter(pool=found).exclude(state=EntitlementState.EXPIRED)
    names = rows.order_by("tenant__slug", "pk").values_list("tenant_id", "tenant__name", "tier__service_class", "pk")
    layers = [Layer(*row) for row in names[: MOST_LAYERS + 1]]
    count = rows.count() if len(layers) > MOST_LAYERS else len(layers)
    if count > MOST_LAYERS and busiest:
        layers = [Layer(*row) for row in names.filter(pk__in=busiest)]
    layers = layers[:MOST_LAYERS]
    layers.sort(key=lambda layer: class_order(layer.service_class))
    return layers, count - len(layers)


def _others(points: list[PoolPoint], uses: dict[int, dict[datetime, float]], dimension: int) -> dict[datetime, Any]:
    """What the pool used beside the layers."""
    return {
        point.at: max(0.0, point.use[dimension] - sum(series.get(point.at, 0.0) for series in uses.values()))
        for point in points
    }
