"""A tenant's own pages: home, usage, debt."""

from __future__ import annotations

import csv
from datetime import timedelta
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.models import Entitlement
from pools.selectors.live import live_for_tenant
from pools.services.amounts import cap_of
from portal.accounts.access import tenant_page
from portal.accounts.choices import TenantRole
from portal.accounts.models import Tenant
from portal.dashboards import figures, reads, tenant_reads
from portal.dashboards.advice import refusal_rows
from portal.dashboards.live_state import LiveRow, LiveState, Triple, parse
from portal.dashboards.series import DIMENSIONS, RANGES, Range, bullets, debt_words, fit, fit_sentence, range_of
from portal.dashboards.views.common import json, page, recent
from portal.lib.clock import now, now_ms
from portal.lib.scope import tenant_scope


def _chosen(request: HttpRequest, rows: list[Entitlement]) -> Entitlement | None:
    slug = request.GET.get("pool")
    if not slug:
        return rows[0] if rows else None
    found = next((row for row in rows if row.pool.slug == slug), None)
    if found is None:
        raise Http404("This tenant holds no entitlement in a pool of that name.")
    return found


@tenant_page(TenantRole.VIEWER)
@require_safe
def home(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """What fits now, what binds, what was refused, what is owed."""
    moment = now()
    with tenant_scope(tenant.pk):
        rows = tenant_reads.entitlements_of(tenant)
        chosen = _chosen(request, rows)
        balance = tenant_reads.debt_balance(tenant)
        usage = tenant_reads.usage_by_key(tenant, RANGES[2], moment)[:6]
        context: dict[str, Any] = {
            "nav": "tenant-home",
            "tenant": tenant,
            "entitlements": rows,
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
        bullets=bullets(row),
        debt=debt_words(row.debt) if row is not None else "",
        priority=1 + chosen.pool.alpha_debt * row.debt if row is not None and row.debt > 0 else 1.0,
        refusals=refusal_rows(counts),
        refused=sum(counts.values()),
        asked=sum(counts.values()) + admitted,
        dimensions=DIMENSIONS,
    )
    return page(request, "dashboards/tenant_home.html", context, charts=True)


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
        chosen = _chosen(request, tenant_reads.entitlements_of(tenant))
        if chosen is None:
            return json({"empty": True})
        points = reads.entitlement_history(chosen.pk, span, moment)
        refused = reads.entitlement_refusals(
            chosen.pk, span.bar_s, moment - timedelta(seconds=span.seconds), span.step_s
        )
        version = chosen.tier.current
        bases: Triple = (chosen.base_tokens_per_second, chosen.base_kv_bytes, chosen.base_concurrency)
        caps = cap_of(chosen, version).as_tuple() if version is not None else bases
    made: dict[str, Any] = {
        key: figures.use_limit_cap(points, caps[index], bases[index], index, chosen.tier.service_class)
        for index, (key, _) in enumerate(DIMENSIONS)
    }
    made["refused"] = figures.refusals(refused, span.bar_s)
    window = {"seconds": span.seconds, "step_s": span.step_s, "bar_s": span.bar_s}
    return json({**made, "range": window, "empty": not points})


@tenant_page(TenantRole.VIEWER)
@require_safe
def live(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The latest live message of one pool, this tenant's rows only: polled while the websocket is lost."""
    with tenant_scope(tenant.pk):
        chosen = _chosen(request, tenant_reads.entitlements_of(tenant))
    text = reads.live_text(chosen.pool_id) if chosen is not None else None
    response = HttpResponse(live_for_tenant(text, tenant.pk) if text else "{}", content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response


@tenant_page(TenantRole.VIEWER)
@require_safe
def usage(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Usage over a range, by key and pool."""
    span = range_of(request.GET.get("range", "24h"))
    with tenant_scope(tenant.pk):
        rows = tenant_reads.usage_by_key(tenant, span, now())
    totals = {
        name: sum(getattr(row, name) for row in rows)
        for name in ("requests", "failed", "input_tokens", "output_tokens")
    }
    context = {"nav": "tenant-usage", "tenant": tenant, "rows": rows, "ranges": RANGES, "range": span, "totals": totals}
    return page(request, "dashboards/tenant_usage.html", context, charts=True)


@tenant_page(TenantRole.VIEWER)
@require_safe
def usage_chart(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The usage page's figure."""
    span = range_of(request.GET.get("range", "24h"))
    with tenant_scope(tenant.pk):
        step_s, rows = tenant_reads.usage_steps(tenant, span, now())
    return json({"usage": figures.usage_bars(rows, step_s), "range": _window(span), "empty": not rows})


@tenant_page(TenantRole.VIEWER)
@require_safe
def usage_csv(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The usage table as CSV; text that a spreadsheet could take for a formula is quoted with an apostrophe."""
    span = range_of(request.GET.get("range", "24h"))
    with tenant_scope(tenant.pk):
        rows = tenant_reads.usage_by_key(tenant, span, now())
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="usage-{tenant.slug}-{span.name}.csv"'
    writer = csv.writer(response)
    writer.writerow(tenant_reads.UsageRow._fields)
    for row in rows:
        writer.writerow([_plain(value) for value in row])
    return response


def _window(span: Range) -> dict[str, int]:
    """What the chart shows, however little of it is known."""
    return {"seconds": span.seconds, "end": now_ms()}


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


@tenant_page(TenantRole.VIEWER)
@require_safe
def debt(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """What is owed: the balance, its history, and every posting with its arithmetic."""
    span = range_of(request.GET.get("range", "1h"))
    cursor = request.GET.get("before", "")
    before = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) < 18 else None
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
