"""A tenant's own pages: home and debt."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.counters.types import CounterUnavailable
from pools.models import Entitlement
from pools.selectors.live import live_for_tenant
from pools.selectors.own import own_entitlement, own_pools
from pools.services.would_fit import usual_wait
from pools.web.limits import wait_words
from portal.accounts.access import tenant_page
from portal.accounts.choices import TenantRole
from portal.accounts.models import Tenant
from portal.dashboards import figures, numbers, reads, tenant_reads
from portal.dashboards.advice import refusal_rows, words
from portal.dashboards.limit_charts import limit_charts
from portal.dashboards.live_state import LiveRow, LiveState, Triple, parse
from portal.dashboards.series import DIMENSIONS, RANGES, Range, debt_words, fit, fit_sentence, range_of
from portal.dashboards.usage_reads import usage_rows
from portal.dashboards.views.common import json, page, recent
from portal.lib.clock import now, now_ms
from portal.lib.given import number_of, text_of
from portal.lib.pages import json_text
from portal.lib.scope import tenant_scope


def _chosen(request: HttpRequest, tenant: Tenant, moment: datetime) -> Entitlement | None:
    slug = text_of(request.GET, "pool", 63)
    found = own_entitlement(tenant, slug, moment)
    if slug and found is None:
        raise Http404("This tenant holds no entitlement in a pool of that name.")
    return found


@tenant_page(TenantRole.VIEWER)
@require_safe
def home(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """What fits now, what binds, what was refused, what is owed."""
    moment = now()
    with tenant_scope(tenant.pk):
        chosen = _chosen(request, tenant, moment)
        balance = tenant_reads.debt_balance(tenant)
        usage = usage_rows(tenant, RANGES[2], moment, "key", 6)
        context: dict[str, Any] = {
            "nav": "tenant-home",
            "tenant": tenant,
            "pools": own_pools(tenant),
            "chosen": chosen.pool.slug if chosen is not None else "",
            "entitlement": chosen,
            "balance": balance,
            "usage": usage,
        }
        if chosen is None:
            return page(request, "dashboards/tenant_home.html", context)
        usual = tenant_reads.usual_request(tenant, chosen.pk)
        counts: dict[str, int] = {}
        for _, code, count in reads.entitlement_refusals(chosen.pk, 3600, moment - timedelta(hours=1)):
            counts[code] = counts.get(code, 0) + count
        admitted = sum(point.admitted for point in reads.entitlement_history(chosen.pk, RANGES[1], moment))
    state = recent(parse(reads.live_text(chosen.pool_id)))
    row = state.rows.get(chosen.pk) if state is not None else None
    context.update(
        state=state,
        row=row,
        usual=usual,
        sentence=sentence(chosen, state, row, usual),
        rooms=rooms(row),
        wait=wait_of(chosen, usual),
        debt=debt_words(row.debt) if row is not None else "",
        priority=1 + chosen.pool.alpha_debt * row.debt if row is not None and row.debt > 0 else 1.0,
        refusals=refusal_rows(counts),
        refused=sum(counts.values()),
        asked=sum(counts.values()) + admitted,
        dimensions=DIMENSIONS,
    )
    return page(request, "dashboards/tenant_home.html", context, charts=True)


def rooms(row: LiveRow | None) -> list[tuple[str, str, str, str, str]]:
    """Per dimension: its key and title, use of limit, what is free below the limit, the burst ceiling."""
    found = []
    for index, (key, title) in enumerate(DIMENSIONS):
        if row is None:
            found.append((key, title, "", numbers.NONE, numbers.NONE))
            continue
        used = numbers.of(row.use[index], row.limit[index], index)
        free = numbers.amount(max(0.0, row.headroom[index]), index)
        found.append((key, title, used, free, numbers.amount(row.cap[index], index)))
    return found


def wait_of(chosen: Entitlement, usual: Triple) -> str:
    """How long a request of the usual size would wait now; empty where nothing can be said."""
    try:
        waits = usual_wait(chosen, usual)
    except CounterUnavailable:
        return ""
    if waits is None:
        return "waiting does not help: see your limits"
    return f"about {wait_words(waits[0])} ({words(waits[1])})" if waits[1] else "none: it would be let in at once"


@tenant_page(TenantRole.VIEWER)
@require_safe
def wait(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The expected wait alone; asked again every few seconds by the home page."""
    with tenant_scope(tenant.pk):
        chosen = _chosen(request, tenant, now())
        usual = tenant_reads.usual_request(tenant, chosen.pk) if chosen is not None else tenant_reads.DEFAULT_USUAL
    text = wait_of(chosen, usual) if chosen is not None else ""
    response = HttpResponse(text or numbers.NONE, content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    return response


def sentence(chosen: Entitlement, state: LiveState | None, row: LiveRow | None, usual: Triple) -> str:
    """The home page's first sentence."""
    if chosen.state not in {"bound", "degraded"}:
        return f"Your entitlement is {chosen.state}. {chosen.state_reason}".strip()
    if state is None or row is None:
        return "No live data at the moment; your entitlement itself is in force."
    return fit_sentence(row, fit(row, usual))


@tenant_page(TenantRole.VIEWER)
@require_safe
def charts(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The home page's small multiples and refusals of the last 15 minutes."""
    moment, span = now(), range_of(request.GET.get("range"))
    with tenant_scope(tenant.pk):
        chosen = _chosen(request, tenant, moment)
        if chosen is None:
            return json({"empty": True})
        return json(limit_charts(chosen, span, moment))


@tenant_page(TenantRole.VIEWER)
@require_safe
def live(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The latest live message of one pool, this tenant's rows only: polled while the websocket is lost."""
    with tenant_scope(tenant.pk):
        chosen = _chosen(request, tenant, now())
    text = reads.live_text(chosen.pool_id) if chosen is not None else None
    return json_text(live_for_tenant(text, tenant.pk) if text else "{}")


def _window(span: Range) -> dict[str, int]:
    """What the chart shows, however little of it is known."""
    return {"seconds": span.seconds, "end": now_ms()}


@tenant_page(TenantRole.VIEWER)
@require_safe
def debt(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """What is owed: the balance, its history, and every posting with its arithmetic."""
    span = range_of(request.GET.get("range", "1h"))
    before = number_of(request.GET.get("before", ""), 17)
    with tenant_scope(tenant.pk):
        balance = tenant_reads.debt_balance(tenant)
        rows = tenant_reads.debt_statement(tenant, before)
    context = {
        "nav": "tenant-debt",
        "tenant": tenant,
        "balance": balance,
        "rows": rows,
        "ranges": RANGES,
        "range": span,
        "next": rows[-1].entry_id if len(rows) == 50 else None,
    }
    return page(request, "dashboards/tenant_debt.html", context, charts=True)


@tenant_page(TenantRole.VIEWER)
@require_safe
def debt_chart(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The debt page's figure."""
    span = range_of(request.GET.get("range", "1h"))
    with tenant_scope(tenant.pk):
        points = tenant_reads.debt_series(tenant, span, now())
    return json({"debt": figures.debt_line(points), "range": _window(span), "empty": not points})
