"""The operator's page of one tenant: what it holds, uses, is owed, asked for, who is in it, what was changed."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from portal.accounts.access import reads_everything
from portal.accounts.choices import TenantState
from portal.accounts.models import Tenant
from portal.dashboards import numbers, tenant_reads
from portal.dashboards.live_state import LiveRow
from portal.dashboards.tenant_tabs import TABS, Badges, badges, tab_of
from portal.dashboards.tenants_now import now_at, tenants_now
from portal.dashboards.views.common import page
from portal.lib.clock import now, now_ms

WITH_CHARTS = {"", "usage", "debt"}


@reads_everything
@require_safe
def tenant(request: HttpRequest, slug: str) -> HttpResponse:
    """One tab of the page; the address says which."""
    found, moment = get_object_or_404(Tenant, slug=slug), now()
    tab = tab_of(request.GET.get("tab", ""))
    counts, live = badges(found, moment), tenants_now(now_ms()).get(found.pk)
    balance = tenant_reads.debt_balance(found)
    context: dict[str, Any] = {
        "nav": "tenants",
        "shown": found,
        "tab": tab.key,
        "tabs": [(each.key, each.label, getattr(counts, each.key, None)) for each in TABS],
        "counts": counts,
        "live": live,
        "at": now_at() if live is not None else None,
        "balance": balance,
        "sentence": sentence(found, counts, live, balance),
        "part": f"dashboards/tenant/{tab.key or 'overview'}.html",
        **tab.read(request, found, moment),
    }
    return page(request, "dashboards/tenant/page.html", context, charts=tab.key in WITH_CHARTS)


def sentence(tenant: Tenant, counts: Badges, live: LiveRow | None, balance: float) -> str:
    """How is this tenant doing?"""
    if tenant.state == TenantState.OFFBOARDED:
        return f"Offboarded: nothing is served any more, its history stays. {tenant.state_reason}".strip()
    if tenant.state == TenantState.SUSPENDED:
        return f"Suspended: every request is refused. {tenant.state_reason}".strip()
    if not counts.entitlements:
        return "It holds no entitlement, so no request of its keys is let in."
    many = f"{counts.entitlements:,} entitlement{'' if counts.entitlements == 1 else 's'}"
    if live is None:
        first = f"No live data at the moment; {many} {'is' if counts.entitlements == 1 else 'are'} in force"
    else:
        first = f"Uses {numbers.of(live.use[0], live.limit[0], 0)} over {many}"
        first += f"; {numbers.si(live.refused_per_minute)} refused a minute" if live.refused_per_minute else ""
    if balance > 0:
        first += f"; the platform owes it {numbers.si(balance, 'tokens')}"
    return f"{first}."
