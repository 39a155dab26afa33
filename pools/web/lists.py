"""Read-only lists for operators: entitlements, scaling decisions. Server-side search, cursor pages by id."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from pools.choices import EntitlementState
from pools.models import Entitlement, Pool, ScalingDecision
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
