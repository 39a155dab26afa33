"""Read-only lists for operators: entitlements, scaling decisions. Server-side search, cursor pages by id."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from pools.models import Pool, ScalingDecision
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
def scaling(request: HttpRequest) -> HttpResponse:
    """Every scaling decision: what was seen, what was wanted, why, and whether it was done."""
    rows = ScalingDecision.objects.select_related("pool", "profile")
    pool = request.GET.get("pool", "").strip()
    if pool:
        rows = rows.filter(pool__slug=pool)
    pools = list(Pool.objects.values_list("slug", "name")[:500])
    context = {"nav": "scaling", "pool": pool, "pools": pools, **cut(rows, request, newest_first=True)}
    return render(request, "pools/scaling.html", context)
