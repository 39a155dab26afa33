"""The grid of entitlements: search, filters, sorting, live numbers of the shown page, CSV."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from pools.choices import EntitlementState
from pools.models import BulkJob, Entitlement
from pools.models.jobs import JobState
from pools.selectors.grid import COLUMNS, EXPIRING, SORTS, GridQuery, grid_choices, grid_matching, grid_page
from pools.selectors.live_rows import live_below_use, live_numbers
from pools.web.lists import flat, kept, row_ids
from pools.web.saved_views import views_of
from portal.accounts.access import reads_everything
from portal.accounts.models import Tenant, User
from portal.lib.clock import now, now_ms
from portal.lib.pages import json, page
from portal.lib.tables import csv_answer

MOST_CSV = 100_000
MOST_SUGGESTED = 12
LIVE_COLUMNS = frozenset({"use", "headroom", "debt"})
CSV_COLUMNS = (
    ("entitlement", "slug"),
    ("tenant", "tenant__slug"),
    ("pool", "pool__slug"),
    ("tier", "tier__slug"),
    ("class", "tier__service_class"),
    ("state", "state"),
    ("tokens_per_second", "base_tokens_per_second"),
    ("kv_bytes", "base_kv_bytes"),
    ("concurrency", "base_concurrency"),
    ("cap_tokens_per_second", "cap_tokens_per_second"),
    ("cap_kv_bytes", "cap_kv_bytes"),
    ("cap_concurrency", "cap_concurrency"),
    ("valid_from", "valid_from"),
    ("valid_until", "valid_until"),
    ("changed_at", "updated_at"),
)


def grid_query(given: QueryDict) -> GridQuery:
    """What an address asks for; columns may be given one by one or joined with commas."""
    return GridQuery.of(flat(given))


def below_of(query: GridQuery) -> frozenset[int] | None:
    """Live ids for the filter "limit below use", read only when it is asked for."""
    return live_below_use(now_ms()) if "below" in query.filters else None


@reads_everything
@require_safe
def entitlements(request: HttpRequest) -> HttpResponse:
    """One page of the grid; everything that shapes it is in the address."""
    query, moment, user = grid_query(request.GET), now(), cast(User, request.user)
    matching = grid_matching(query, moment, below_of(query))
    found = grid_page(query, matching)
    numbers = live_numbers(found.rows, now_ms()) if LIVE_COLUMNS & set(query.columns) else {}
    context: dict[str, Any] = {
        "nav": "entitlements",
        "query": query,
        "filters": query.filters,
        "rows": [(row, numbers.get(row.pk)) for row in found.rows],
        "oldest_ms": min((one.at_ms for one in numbers.values()), default=None),
        "next": found.next,
        "total": matching.count(),
        "heads": heads(query),
        "no_name": not {"slug", "tenant"} & set(query.columns),
        "columns": [(key, label, key in query.columns) for key, label in COLUMNS.items()],
        "expiring": EXPIRING,
        "views": views_of(user, request.GET),
        "kept": kept(request.GET, "cursor", "cols"),
        "address": urlencode(kept(request.GET, "cursor")),
        "filtered": urlencode(list(query.filters.items())),
        "running": BulkJob.objects.filter(state__in=(JobState.WAITING, JobState.RUNNING)).count(),
        **grid_choices(),
    }
    return page(request, "pools/entitlements.html", context)


def heads(query: GridQuery) -> list[tuple[str, str, str, str]]:
    """(key, label, what a click sorts by, aria-sort) of the shown columns; "" where there is nothing to sort."""
    shown = []
    for key in COLUMNS:
        if key not in query.columns:
            continue
        here = key == query.sort
        direction = ("descending" if query.descending else "ascending") if here else ""
        shown.append(
            (
                key,
                COLUMNS[key],
                (f"-{key}" if here and not query.descending else key) if key in SORTS else "",
                direction,
            )
        )
    return shown


@reads_everything
@require_safe
def entitlements_live(request: HttpRequest) -> HttpResponse:
    """Live numbers of the rows of one page: what its script asks for every few seconds. ``ids``: joined with commas."""
    rows = list(Entitlement.objects.filter(pk__in=row_ids(request)).only("pk", "pool_id", "state"))
    numbers = live_numbers(rows, now_ms())
    found = [
        [row.pk, row.state, one.use, one.limit, one.cap, one.base, one.headroom, one.debt]
        for row in rows
        if (one := numbers.get(row.pk)) is not None
    ]
    return json({"at": min((one.at_ms for one in numbers.values()), default=None), "rows": found})


@reads_everything
@require_safe
def entitlements_csv(request: HttpRequest) -> HttpResponse:
    """Every row that passes the page's filters, in the order of the page."""
    query = grid_query(request.GET)
    path = {"until": "valid_until"}.get(SORTS[query.sort], SORTS[query.sort])
    order = [f"-{path}", "-pk"] if query.descending else [path, "pk"]
    paths = [path for _, path in CSV_COLUMNS]
    rows = grid_matching(query, now(), below_of(query)).order_by(*order).values_list(*paths)[:MOST_CSV]
    return csv_answer("entitlements", [name for name, _ in CSV_COLUMNS], rows)


@reads_everything
@require_safe
def tenant_choices(request: HttpRequest) -> HttpResponse:
    """Tenants whose name or slug holds what is being typed, for the list under a field."""
    text = (request.GET.get("tenant") or request.GET.get("q") or "").strip()[:200]
    rows = Tenant.objects.order_by("slug")
    if text and "\x00" not in text:
        rows = rows.filter(slug__icontains=text) | rows.filter(name__icontains=text)
    return page(request, "pools/_tenant_options.html", {"tenants": rows[:MOST_SUGGESTED]})


def living_states() -> list[str]:
    """Every state but the last."""
    return [state.value for state in EntitlementState if state is not EntitlementState.EXPIRED]
