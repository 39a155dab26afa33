"""The pools list and the live page of one pool."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any, cast

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from pools.choices import CLASS_RULES, EndpointState, ServiceClass
from pools.models import Endpoint, Pool, ScalingDecision
from pools.selectors.live import live_rows_only, live_wanted
from pools.selectors.overview import PoolRow, rows_fresh
from pools.services.ceiling import ceiling_now
from pools.web.pool_common import pool_context, pool_of
from portal.accounts.access import reads_everything
from portal.accounts.models import User
from portal.dashboards import numbers, reads
from portal.dashboards.live_state import LiveState, parse
from portal.dashboards.overview_tiles import tight_words
from portal.dashboards.pool_rows import MOST_LETTERS, table_page
from portal.dashboards.series import DIMENSIONS, RANGES, dimension_of, gauges, range_of, state_sentence
from portal.dashboards.views.common import page, recent
from portal.dashboards.views.rolling import rolling_context
from portal.lib.clock import now, now_ms
from portal.lib.given import text_of
from portal.lib.pages import json_text
from portal.lib.tables import csv_answer

PAGE = 50
MOST_CSV = 20_000
MOST_DECISIONS = 30
MOST_ENDPOINTS, MOST_FAILED = 100, 5
FAILED_FOR = timedelta(days=1)


@reads_everything
@require_safe
def pools(request: HttpRequest) -> HttpResponse:
    """Every pool with what it has, promised and uses now, by name; archived ones by ``?archived=1``."""
    text = text_of(request.GET, "q", MOST_LETTERS)
    archived, after = request.GET.get("archived") == "1", text_of(request.GET, "after", 63)
    found = pools_found(text, archived)
    if after:
        found = found.filter(slug__gt=after)
    rows = list(found[: PAGE + 1])
    live = {row.pool_id: row for row in rows_fresh(now_ms())} if rows and not archived else {}
    context = {
        "nav": "pools",
        "rows": [(one, row := live.get(one.pk), gauges(row), now_words(one, row)) for one in rows[:PAGE]],
        "next": rows[PAGE - 1].slug if len(rows) > PAGE else None,
        "paged": bool(after),
        "q": text,
        "archived": archived,
        "filtered": bool(text or archived or after),
        "may_change": cast(User, request.user).operates,
        "ceiling": ceiling_now(),
    }
    return page(request, "dashboards/pools.html", context)


def pools_found(text: str, archived: bool) -> QuerySet[Pool]:
    """Every pool that passes the filters of the list, by its slug."""
    found = Pool.objects.filter(archived_at__isnull=not archived).order_by("slug")
    if text:
        found = found.filter(Q(slug__icontains=text) | Q(name__icontains=text) | Q(model_name__icontains=text))
    return found


@reads_everything
@require_safe
def pools_csv(request: HttpRequest) -> HttpResponse:
    """Every pool that passes the page's filters with what it has, promised and uses now."""
    found = pools_found(text_of(request.GET, "q", MOST_LETTERS), request.GET.get("archived") == "1")
    live = {row.pool_id: row for row in rows_fresh(now_ms())}
    names = ("tokens_per_second", "kv_bytes", "concurrency")
    head = ["pool", "name", "model", "ready", "pending", "max_replicas", "refused_per_minute"]
    head += [f"{part}_{name}" for part in ("capacity", "promised", "use") for name in names]

    def line(one: Pool, row: PoolRow | None) -> list[Any]:
        named: list[Any] = [one.slug, one.name, one.model_name]
        if row is None:
            return [*named, None, None, one.max_replicas, *([None] * 10)]
        counts = [row.ready, row.pending, one.max_replicas, row.refused_per_minute]
        return [*named, *counts, *row.capacity, *row.promised, *row.use]

    return csv_answer("pools", head, (line(one, live.get(one.pk)) for one in found[:MOST_CSV]))


def now_words(found: Pool, row: PoolRow | None) -> str:
    """How a pool stands, for its line of the list."""
    if found.current_profile_id is None:
        return "no capacity profile yet"
    if row is None:
        return "no live data"
    parts = [tight_words(row)]
    if found.manual_replicas is not None:
        parts.append(f"held at {found.manual_replicas} by hand")
    if row.contended:
        parts.append("limits apply")
    if row.refused_per_minute:
        parts.append(f"{numbers.si(row.refused_per_minute)} refused a minute")
    return "; ".join(parts)


@reads_everything
@require_safe
def pool(request: HttpRequest, slug: str) -> HttpResponse:
    """The live page of one pool. Its charts come from ``pool_charts``, its numbers then from the websocket."""
    found = pool_of(slug)
    span, dimension = range_of(request.GET.get("range")), dimension_of(request.GET.get("dimension"))
    text = request.GET.get("q", "")[:MOST_LETTERS]
    table = table_page(found, lambda ids: state_of(found, ids), text)
    state = table.state
    context: dict[str, Any] = {
        **pool_context(request, found, "pool"),
        "state": state,
        "sentence": state_sentence(state),
        "gauges": gauges(state),
        "table": table,
        "q": text,
        "ranges": RANGES,
        "range": span,
        "dimensions": DIMENSIONS,
        "dimension": DIMENSIONS[dimension][0],
        **endpoint_context(found),
        **decision_context(found),
    }
    return page(request, "dashboards/pool.html", context, charts=True)


@reads_everything
@require_safe
def rows(request: HttpRequest, slug: str) -> HttpResponse:
    """More lines of the entitlements table, or those that match a search; the page's address keeps the search."""
    found = pool_of(slug)
    text, cursor = request.GET.get("q", "")[:MOST_LETTERS], request.GET.get("cursor", "")
    table = table_page(found, lambda ids: state_of(found, ids), text, cursor)
    context = {"pool": found, "table": table, "q": text}
    response = page(request, "dashboards/_entitlement_rows.html", context)
    if not cursor:
        kept = {name: request.GET[name] for name in ("range", "dimension") if request.GET.get(name)}
        query = urlencode({**kept, **({"q": text} if text else {})})
        response["HX-Replace-Url"] = reverse("pool", args=[slug]) + (f"?{query}" if query else "")
    return response


def state_of(found: Pool, ids: Collection[int]) -> LiveState | None:
    """What is known of a pool now, with the rows of some entitlements."""
    return recent(parse(reads.live_text(found.pk), ids))


def class_order(service_class: str) -> tuple[int, int]:
    """Strongest promise first."""
    classes = list(ServiceClass)
    found = ServiceClass(service_class)
    return CLASS_RULES[found].rank, classes.index(found)


def endpoint_context(found: Pool) -> dict[str, Any]:
    """Endpoints that live, in the order of their numbers, then the latest that failed within a day; a rolling restart
    with how far it is."""
    living = Endpoint.objects.filter(pool=found).exclude(state__in=(EndpointState.STOPPED, EndpointState.FAILED))
    shown = list(living.select_related("profile").order_by("ordinal", "pk")[: MOST_ENDPOINTS + 1])
    failed = Endpoint.objects.filter(pool=found, state=EndpointState.FAILED, state_since__gt=now() - FAILED_FOR)
    latest = list(failed.select_related("profile").order_by("-state_since")[:MOST_FAILED])
    return {
        "endpoints": shown[:MOST_ENDPOINTS] + latest,
        "more_endpoints": living.count() - MOST_ENDPOINTS if len(shown) > MOST_ENDPOINTS else 0,
        **rolling_context(found),
    }


def decision_context(found: Pool) -> dict[str, Any]:
    """The latest scaling decisions."""
    return {"decisions": list(ScalingDecision.objects.filter(pool=found)[:MOST_DECISIONS])}


@reads_everything
@require_safe
def endpoints(request: HttpRequest, slug: str) -> HttpResponse:
    """The endpoints table alone, fetched every few seconds by the page."""
    found = pool_of(slug)
    context = {**pool_context(request, found, "pool"), **endpoint_context(found)}
    return page(request, "dashboards/_endpoints.html", context)


@reads_everything
@require_safe
def decisions(request: HttpRequest, slug: str) -> HttpResponse:
    """The decisions table alone, fetched every few seconds by the page."""
    found = pool_of(slug)
    return page(request, "dashboards/_decisions.html", {"pool": found, **decision_context(found)})


@reads_everything
@require_safe
def live(request: HttpRequest, slug: str) -> HttpResponse:
    """The latest live message: what the page polls while its websocket is lost; ``?rows=`` names those it shows."""
    text = reads.live_text(pool_of(slug).pk)
    wanted = live_wanted(f'{{"rows":[{request.GET.get("rows", "")[:12_000]}]}}') if "rows" in request.GET else None
    return json_text(live_rows_only(text, wanted) if text else "{}")
