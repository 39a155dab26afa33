"""The pools list and the live page of one pool."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from pools.choices import CLASS_RULES, EndpointState, EntitlementState, ServiceClass
from pools.models import Endpoint, Entitlement, Pool, ScalingDecision
from portal.accounts.access import reads_everything
from portal.dashboards import reads
from portal.dashboards.live_state import LiveRow, LiveState, parse
from portal.dashboards.series import (
    DIMENSIONS,
    RANGES,
    Bullet,
    bullets,
    debt_words,
    dimension_of,
    gauges,
    range_of,
    state_sentence,
)
from portal.dashboards.views.common import page, recent

MOST_ROWS = 200
MOST_DECISIONS = 30


class TableRow(NamedTuple):
    """One line of the entitlements table."""

    entitlement: Entitlement
    live: LiveRow | None
    bullets: list[Bullet | None]
    debt: str


def pool_of(slug: str) -> Pool:
    """The pool of a slug, or 404."""
    return get_object_or_404(Pool.objects.select_related("current_profile"), slug=slug)


@reads_everything
@require_safe
def pools(request: HttpRequest) -> HttpResponse:
    """Every pool with what it has, promised and uses now."""
    text = request.GET.get("q", "").strip()
    found = Pool.objects.filter(archived_at__isnull=True).select_related("current_profile")
    if text:
        found = found.filter(Q(slug__icontains=text) | Q(name__icontains=text) | Q(model_name__icontains=text))
    rows = list(found[:MOST_ROWS])
    states = reads.live_states([pool.pk for pool in rows])
    shown = [(pool, state := recent(states.get(pool.pk)), gauges(state)) for pool in rows]
    return page(request, "dashboards/pools.html", {"nav": "pools", "rows": shown, "q": text})


@reads_everything
@require_safe
def pool(request: HttpRequest, slug: str) -> HttpResponse:
    """The live page of one pool. Its charts come from ``pool_charts``, its numbers then from the websocket."""
    found = pool_of(slug)
    state = recent(parse(reads.live_text(found.pk)))
    span, dimension = range_of(request.GET.get("range")), dimension_of(request.GET.get("dimension"))
    context: dict[str, Any] = {
        "nav": "pools",
        "pool": found,
        "state": state,
        "sentence": state_sentence(state),
        "gauges": gauges(state),
        "rows": table(found, state),
        "ranges": RANGES,
        "range": span,
        "dimensions": DIMENSIONS,
        "dimension": DIMENSIONS[dimension][0],
        **endpoint_context(found),
        **decision_context(found),
    }
    return page(request, "dashboards/pool.html", context, charts=True)


def table(found: Pool, state: LiveState | None) -> list[TableRow]:
    """The pool's living entitlements, strongest class first, then by name: an order that no update changes."""
    rows = list(
        Entitlement.objects.filter(pool=found)
        .exclude(state=EntitlementState.EXPIRED)
        .select_related("tenant", "tier")
        .order_by("tenant__slug", "id")[:MOST_ROWS]
    )
    rows.sort(key=lambda row: (class_order(row.tier.service_class), row.tenant.slug))
    live = {row.pk: state.rows.get(row.pk) if state is not None else None for row in rows}
    return [
        TableRow(row, seen := live[row.pk], bullets(seen), debt_words(seen.debt) if seen is not None else "")
        for row in rows
    ]


def class_order(service_class: str) -> tuple[int, int]:
    classes = list(ServiceClass)
    found = ServiceClass(service_class)
    return CLASS_RULES[found].rank, classes.index(found)


def endpoint_context(found: Pool) -> dict[str, Any]:
    """Endpoints that live or failed of late."""
    gone = Q(state=EndpointState.STOPPED)
    return {"endpoints": list(Endpoint.objects.filter(pool=found).exclude(gone).order_by("id")[:100])}


def decision_context(found: Pool) -> dict[str, Any]:
    """The latest scaling decisions."""
    return {"decisions": list(ScalingDecision.objects.filter(pool=found)[:MOST_DECISIONS])}


@reads_everything
@require_safe
def endpoints(request: HttpRequest, slug: str) -> HttpResponse:
    """The endpoints table alone, fetched every few seconds by the page."""
    found = pool_of(slug)
    return page(request, "dashboards/_endpoints.html", {"pool": found, **endpoint_context(found)})


@reads_everything
@require_safe
def decisions(request: HttpRequest, slug: str) -> HttpResponse:
    """The decisions table alone, fetched every few seconds by the page."""
    found = pool_of(slug)
    return page(request, "dashboards/_decisions.html", {"pool": found, **decision_context(found)})


@reads_everything
@require_safe
def live(request: HttpRequest, slug: str) -> HttpResponse:
    """The latest live message: what the page polls while its websocket is lost."""
    text = reads.live_text(pool_of(slug).pk)
    response = HttpResponse(text or b"{}", content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response
