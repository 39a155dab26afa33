"""Why an entitlement has the weight, limits and debt it has: a page, and a panel that other pages fetch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from pools.choices import CLASS_RULES, ServiceClass
from pools.models import Entitlement
from pools.services.explain import explain
from portal.accounts.access import reads_everything, tenant_page
from portal.accounts.choices import TenantRole
from portal.accounts.models import Tenant
from portal.dashboards import explain_words as words
from portal.dashboards import tenant_reads
from portal.dashboards.live_state import Triple
from portal.dashboards.views.common import page
from portal.lib.clock import now_ms
from portal.lib.scope import tenant_scope


@reads_everything
@require_safe
def entitlement(request: HttpRequest, slug: str) -> HttpResponse:
    """The whole explanation, the pool's own numbers included. Fetched by htmx it is the panel alone."""
    rows = Entitlement.objects.select_related("tenant", "pool__current_profile", "tier__current")
    found = get_object_or_404(rows, slug=slug)
    usual = tenant_reads.usual_request(found.tenant, found.pk)
    return _answer(request, found, usual, {"nav": "entitlements", "platform": True})


@tenant_page(TenantRole.VIEWER)
@require_safe
def mine(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """A tenant's own: its numbers with the formulas, nothing of anybody else's."""
    with tenant_scope(tenant.pk):
        rows = tenant_reads.entitlements_of(tenant)
        slug = request.GET.get("pool")
        found = next((row for row in rows if row.pool.slug == slug), None) if slug else next(iter(rows), None)
        if found is None:
            raise Http404("This tenant holds no entitlement in a pool of that name.")
        usual = tenant_reads.usual_request(tenant, found.pk)
    platform = request.user.is_authenticated and request.user.reads_everything
    context = {"nav": "tenant-home", "tenant": tenant, "entitlements": rows, "platform": platform}
    return _answer(request, found, usual, context)


def _answer(request: HttpRequest, found: Entitlement, usual: Triple, context: dict[str, Any]) -> HttpResponse:
    told = explain(found, usual, now_ms())
    platform = context["platform"]
    context |= {
        "entitlement": found,
        "rule": CLASS_RULES[ServiceClass(found.tier.service_class)],
        "told": told,
        "at": _moment(told.at_ms),
        "debt_at": _moment(told.debt_at_ms),
        "sentence": words.admission_sentence(told.admission, told.ask),
        "terms": words.weight_terms(told.weight, told.literal) if told.weight is not None else [],
        "weight": words.plain(told.weight.weight) if told.weight is not None else "",
        "debt_lines": words.debt_lines(told.debt) if told.debt is not None else [],
        "stages": words.stage_rows(told.limits) if told.limits is not None else [],
        "steps": words.step_rows(told.admission, platform=platform) if told.admission is not None else [],
        "changes": words.change_rows(told.what_ifs, told.weight),
    }
    if request.headers.get("HX-Request"):
        return page(request, "dashboards/_explain.html", {**context, "panel": True})
    return page(request, "dashboards/explain.html", context)


def _moment(at_ms: int | None) -> datetime | None:
    return datetime.fromtimestamp(at_ms / 1000, UTC) if at_ms is not None else None
