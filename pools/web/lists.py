"""Read-only lists for operators: tiers, entitlements, scaling decisions. Server-side search, cursor pages by id."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from pools.choices import CLASS_RULES, EntitlementState, ServiceClass
from pools.models import Entitlement, Pool, ScalingDecision, Tier, TierVersion
from portal.accounts.access import reads_everything

PAGE = 50


def cut(rows: QuerySet[Any, Any], request: HttpRequest, *, newest_first: bool = False) -> dict[str, Any]:
    """One page by id: ``?after=ID``. Gives rows and the cursor of the next page (None at the end)."""
    after = request.GET.get("after", "")
    if after.isascii() and after.isdigit():
        rows = rows.filter(pk__lt=after) if newest_first else rows.filter(pk__gt=after)
    found = list(rows.order_by("-pk" if newest_first else "pk")[: PAGE + 1])
    return {"rows": found[:PAGE], "next": found[PAGE - 1].pk if len(found) > PAGE else None, "paged": bool(after)}


@reads_everything
@require_safe
def tiers(request: HttpRequest) -> HttpResponse:
    """Every tier with the terms in force and how many entitlements live under it."""
    living = Count("entitlements", filter=~Q(entitlements__state=EntitlementState.EXPIRED))
    rows = list(Tier.objects.select_related("current").annotate(living=living).order_by("slug")[:500])
    order = list(ServiceClass)
    rows.sort(key=lambda tier: (order.index(ServiceClass(tier.service_class)), tier.slug))
    return render(request, "pools/tiers.html", {"nav": "tiers", "rows": rows})


@reads_everything
@require_safe
def tier(request: HttpRequest, slug: str) -> HttpResponse:
    """One tier: its class, its terms, its versions."""
    found = get_object_or_404(Tier.objects.select_related("current"), slug=slug)
    versions = list(TierVersion.objects.filter(tier=found).order_by("-number")[:100])
    rule = CLASS_RULES[ServiceClass(found.service_class)]
    context = {"nav": "tiers", "tier": found, "current": found.current, "versions": versions, "rule": rule}
    return render(request, "pools/tier.html", context)


@reads_everything
@require_safe
def entitlements(request: HttpRequest) -> HttpResponse:
    """All entitlements; filters live in the address."""
    rows = Entitlement.objects.select_related("tenant", "pool", "tier")
    text, pool, state = (request.GET.get(name, "").strip() for name in ("q", "pool", "state"))
    if text:
        rows = rows.filter(Q(slug__icontains=text) | Q(tenant__name__icontains=text) | Q(tenant__slug__icontains=text))
    if pool:
        rows = rows.filter(pool__slug=pool)
    rows = rows.filter(state=state) if state else rows.exclude(state=EntitlementState.EXPIRED)
    context = {
        "nav": "entitlements",
        "q": text,
        "pool": pool,
        "state": state,
        "pools": list(Pool.objects.values_list("slug", "name")[:500]),
        "states": [item.value for item in EntitlementState],
        **cut(rows, request),
    }
    return render(request, "pools/entitlements.html", context)


@reads_everything
@require_safe
def scaling(request: HttpRequest) -> HttpResponse:
    """Every scaling decision: what was seen, what was wanted, why, and whether it was done."""
    rows = ScalingDecision.objects.select_related("pool", "profile")
    pool = request.GET.get("pool", "").strip()
    if pool:
        rows = rows.filter(pool__slug=pool)
    pools = list(Pool.objects.values_list("slug", "name")[:500])
    context = {"nav": "scaling", "pool": pool, "pools": pools, **cut(rows, request, newest_first=True)}
    return render(request, "pools/scaling.html", context)
