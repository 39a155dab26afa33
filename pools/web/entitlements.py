"""The grid of entitlements: search, filters, sorting, saved views, live numbers of the shown page, CSV."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from pools.models import SavedView
from pools.selectors.grid import COLUMNS, EXPIRING, SORTS, GridQuery, grid_choices, grid_matching, grid_page
from pools.selectors.live_rows import live_below_use, live_numbers
from pools.services.bulk_actions import ACTIONS
from pools.web.common import csv_answer
from portal.accounts.access import reads_everything
from portal.accounts.models import User
from portal.lib.clock import now, now_ms

PAGE_NAME = "entitlements"
MOST_CSV = 100_000
CSV_HEAD = [
    "entitlement",
    "tenant",
    "pool",
    "tier",
    "class",
    "state",
    "tokens_per_second",
    "kv_bytes",
    "concurrency",
    "cap_tokens_per_second",
    "cap_kv_bytes",
    "cap_concurrency",
    "valid_from",
    "valid_until",
    "changed_at",
]
CSV_PATHS = [
    "slug",
    "tenant__slug",
    "pool__slug",
    "tier__slug",
    "tier__service_class",
    "state",
    "base_tokens_per_second",
    "base_kv_bytes",
    "base_concurrency",
    "cap_tokens_per_second",
    "cap_kv_bytes",
    "cap_concurrency",
    "valid_from",
    "valid_until",
    "updated_at",
]


def grid_query(given: QueryDict) -> GridQuery:
    """What an address asks for; columns may be given one by one or joined with commas."""
    return GridQuery.of({**{key: given.get(key, "") for key in given}, "cols": ",".join(given.getlist("cols"))})


def below_of(query: GridQuery) -> frozenset[int] | None:
    """Live ids for the filter "limit below use", read only when it is asked for."""
    return live_below_use(now_ms()) if "below" in query.filters else None


@reads_everything
@require_safe
def entitlements(request: HttpRequest) -> HttpResponse:
    """One page of the grid; everything that shapes it is in the address."""
    query, moment, user = grid_query(request.GET), now(), cast(User, request.user)
    below = below_of(query)
    page = grid_page(query, moment, below)
    numbers = live_numbers(page.rows, now_ms()) if {"use", "headroom", "debt"} & set(query.columns) else {}
    views = list(SavedView.objects.filter(page=PAGE_NAME).select_related("user").order_by("name")[:100])
    context: dict[str, Any] = {
        "nav": "entitlements",
        "query": query,
        "filters": query.filters,
        "rows": [(row, numbers.get(row.pk)) for row in page.rows],
        "next": page.next,
        "total": grid_matching(query, moment, below).count(),
        "heads": [(key, COLUMNS[key], key in SORTS) for key in COLUMNS if key in query.columns],
        "columns": [(key, label, key in query.columns) for key, label in COLUMNS.items()],
        "expiring": EXPIRING,
        "views": [view for view in views if view.shared or view.user_id == user.pk],
        "kept": [(key, value) for key, given in request.GET.lists() if key != "cursor" for value in given],
        "address": _address(request),
        "actions": ACTIONS,
        **grid_choices(),
    }
    return render(request, "pools/entitlements.html", context)


@reads_everything
@require_safe
def entitlements_csv(request: HttpRequest) -> HttpResponse:
    """Every row that passes the page's filters, in the order of the page."""
    query = grid_query(request.GET)
    path = {"until": "valid_until"}.get(SORTS[query.sort], SORTS[query.sort])
    order = [f"-{path}", "-pk"] if query.descending else [path, "pk"]
    rows = grid_matching(query, now(), below_of(query)).order_by(*order).values_list(*CSV_PATHS)[:MOST_CSV]
    shown = ([value.isoformat() if hasattr(value, "isoformat") else value for value in row] for row in rows)
    return csv_answer("entitlements", CSV_HEAD, shown)


@reads_everything
@require_POST
def view_save(request: HttpRequest) -> HttpResponseBase:
    """Keeps the present address under a name; auditors may too, it changes nothing but their own list."""
    user = cast(User, request.user)
    name, query = request.POST.get("name", "").strip()[:60], request.POST.get("query", "").lstrip("?")[:2000]
    shared = request.POST.get("shared") == "1" and user.operates
    if not name or "\x00" in name + query:
        messages.error(request, "Give the view a name.")
        return redirect(f"{reverse('entitlements')}?{query}")
    try:
        with transaction.atomic():
            SavedView.objects.update_or_create(
                user=user, page=PAGE_NAME, name=name, defaults={"query": query, "shared": shared}
            )
    except IntegrityError:  # saved twice in the same moment: the other one did it
        pass
    messages.success(request, f"The view “{name}” is saved{' for everybody' if shared else ''}.")
    return redirect(f"{reverse('entitlements')}?{query}")


@reads_everything
@require_POST
def view_delete(request: HttpRequest, view_id: int) -> HttpResponseBase:
    """Forgets one of the person's own views."""
    view = get_object_or_404(SavedView, pk=view_id, user=cast(User, request.user), page=PAGE_NAME)
    view.delete()
    messages.success(request, f"The view “{view.name}” is gone.")
    return redirect("entitlements")


def _address(request: HttpRequest) -> str:
    kept = [(key, value) for key, values in request.GET.lists() if key != "cursor" for value in values]
    return urlencode(kept)
