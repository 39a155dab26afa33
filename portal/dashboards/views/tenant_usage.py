"""A tenant's usage: over a range, grouped by key, model or time; as a table, a chart and CSV."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from portal.accounts.access import tenant_page
from portal.accounts.choices import TenantRole
from portal.accounts.models import Tenant
from portal.dashboards import figures
from portal.dashboards.series import RANGES, Range, range_of
from portal.dashboards.usage_reads import (
    GROUPS,
    MOST_CSV,
    SHOWN,
    UsageRow,
    group_of,
    usage_rows,
    usage_series,
    usage_totals,
)
from portal.dashboards.views.common import json, page
from portal.lib.clock import now, now_ms
from portal.lib.scope import tenant_scope
from portal.lib.tables import csv_answer

USUAL = "24h"


def asked(request: HttpRequest) -> tuple[Range, str]:
    """Range and grouping from the address."""
    return range_of(request.GET.get("range", USUAL)), group_of(request.GET.get("by"))


@tenant_page(TenantRole.VIEWER)
@require_safe
def usage(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """What was used, by whom, of what."""
    span, group = asked(request)
    moment = now()
    with tenant_scope(tenant.pk):
        rows = usage_rows(tenant, span, moment, group, SHOWN + 1)
        totals = usage_totals(tenant, span, moment)
    context: dict[str, Any] = {
        "nav": "tenant-usage",
        "tenant": tenant,
        "rows": rows[:SHOWN],
        "more": len(rows) > SHOWN,
        "largest": max((row.charged_tokens for row in rows), default=0),
        "totals": totals,
        "ranges": RANGES,
        "range": span,
        "groups": GROUPS.items(),
        "by": group,
    }
    return page(request, "dashboards/tenant_usage.html", context, charts=True)


@tenant_page(TenantRole.VIEWER)
@require_safe
def chart(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The usage page's figure."""
    span, group = asked(request)
    with tenant_scope(tenant.pk):
        step_s, series = usage_series(tenant, span, now(), group)
    window = {"seconds": span.seconds, "end": now_ms()}
    return json({"usage": figures.usage_bars(series, step_s), "range": window, "empty": not series})


@tenant_page(TenantRole.VIEWER)
@require_safe
def usage_csv(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The same rows as CSV, all of them."""
    span, group = asked(request)
    with tenant_scope(tenant.pk):
        rows = usage_rows(tenant, span, now(), group, MOST_CSV)
    name = f"usage-{tenant.slug}-{span.name}{f'-by-{group}' if group else ''}"
    return csv_answer(name, UsageRow._fields, rows)
