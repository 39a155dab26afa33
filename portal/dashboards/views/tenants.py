"""The operator's list of tenants, and the same as CSV."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.web.lists import flat, kept, row_ids
from portal.accounts.access import reads_everything
from portal.accounts.models import Tenant
from portal.dashboards import numbers
from portal.dashboards.tenant_list import (
    HEADS,
    HOLDS,
    NUMERIC,
    STATES,
    TROUBLES,
    TenantQuery,
    owed_by,
    state_counts,
    tenant_page,
    tenant_rows,
)
from portal.dashboards.tenants_now import now_at, tenants_now
from portal.dashboards.views.common import json, page
from portal.lib.clock import now_ms
from portal.lib.tables import csv_answer

MOST_CSV = 20_000
CSV_HEAD = (
    "slug",
    "name",
    "state",
    "contact_email",
    "currency",
    "entitlements",
    "use_tokens_per_second",
    "use_slots",
    "refused_per_minute",
    "debt",
    "owed_tokens",
    "keys",
    "people",
    "since",
)


@reads_everything
@require_safe
def tenants(request: HttpRequest) -> HttpResponse:
    """Tenants with what they hold and use; everything that shapes the list is in the address."""
    query, moment = TenantQuery.of(flat(request.GET)), now_ms()
    rows, following = tenant_page(query, moment)
    counts = state_counts()
    context = {
        "nav": "tenants",
        "query": query,
        "rows": rows,
        "next": following,
        "paged": bool(query.cursor),
        "sentence": sentence(counts, moment),
        "any": sum(counts.values()),
        "at": now_at(),
        "heads": [(key, label, key in NUMERIC) for key, label in HEADS.items() if key in query.columns],
        "columns": [(key, label, key in query.columns) for key, label in HEADS.items() if key != "name"],
        "kept": kept(request.GET, "cursor", "cols"),
        "states": STATES.items(),
        "holds": HOLDS.items(),
        "troubles": TROUBLES.items(),
    }
    return page(request, "dashboards/tenants.html", context)


def sentence(counts: dict[str, int], moment: int) -> str:
    """Who needs a look?"""
    active, suspended = counts.get("active", 0), counts.get("suspended", 0)
    if not active and not suspended:
        return "No tenant is being served."
    refused = sum(row.refused_per_minute > 0 for row in tenants_now(moment).values())
    owed = [tokens for tokens in owed_by().values() if tokens > 0]
    parts = [f"{active:,} active tenant{'' if active == 1 else 's'}"]
    parts += [f"{suspended:,} suspended"] if suspended else []
    parts.append(f"{refused:,} {'is' if refused == 1 else 'are'} being refused something now")
    parts.append(f"{len(owed):,} owed {numbers.si(sum(owed), 'tokens')}" if owed else "nobody is owed anything")
    return "; ".join(parts) + "."


@reads_everything
@require_safe
def tenants_live(request: HttpRequest) -> HttpResponse:
    """Live numbers of the rows of one page: what its script asks for every few seconds. ``ids``: joined with commas."""
    states = dict(Tenant.objects.filter(pk__in=row_ids(request)).values_list("pk", "state"))
    owed, live = owed_by(list(states)), tenants_now(now_ms())
    found = [
        [key, state, one.use, one.limit, one.cap, one.base, one.refused_per_minute, one.debt, round(owed.get(key, 0.0))]
        for key, state in states.items()
        if (one := live.get(key)) is not None
    ]
    at = now_at()
    return json({"at": round(at.timestamp() * 1000) if at is not None else None, "rows": found})


@reads_everything
@require_safe
def tenants_csv(request: HttpRequest) -> HttpResponse:
    """Every tenant that passes the page's filters, in the order of the page."""
    query, moment = TenantQuery.of(request.GET), now_ms()
    found = tenant_rows(query, moment, MOST_CSV)
    rows = (
        (
            line.tenant.slug,
            line.tenant.name,
            line.tenant.state,
            line.tenant.contact_email,
            line.tenant.currency,
            line.entitlements,
            round(line.now.use[0], 2) if line.now else None,
            round(line.now.use[2], 2) if line.now else None,
            round(line.now.refused_per_minute, 2) if line.now else None,
            round(line.now.debt, 4) if line.now else None,
            round(line.owed),
            line.keys,
            line.people,
            line.tenant.created_at,
        )
        for line in found
    )
    return csv_answer("tenants", CSV_HEAD, rows)
