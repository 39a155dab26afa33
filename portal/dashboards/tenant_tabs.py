"""What each tab of an operator's page of one tenant reads; a tab asks for its own rows and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Q
from django.http import HttpRequest

from pools.choices import EntitlementState
from pools.models import Entitlement, EntitlementRequest
from portal.accounts.models import ApiKey, Membership, Tenant
from portal.accounts.viewer import PLATFORM
from portal.audit import selectors as audit
from portal.dashboards import tenant_reads
from portal.dashboards.live_state import LiveRow
from portal.dashboards.series import RANGES, bullets, range_of
from portal.dashboards.tenants_now import entitlements_now
from portal.dashboards.usage_reads import usage_rows
from portal.dashboards.views.audit import line
from portal.lib.clock import now_ms
from portal.lib.given import number_of
from portal.people.invitations import invitation_list

PAGE = 50
FEW = 8
Context = dict[str, Any]


class Tab(NamedTuple):
    """A tab: its name in the address, its label, what it reads."""

    key: str
    label: str
    read: Callable[[HttpRequest, Tenant, datetime], Context]


def cursor_of(request: HttpRequest) -> int | None:
    """The id after which the page begins; None for anything that is not one."""
    return number_of(request.GET.get("after", ""))


def cut(rows: Any, request: HttpRequest, *, newest_first: bool = True) -> Context:
    """One page by id: rows, the cursor of the next page, whether this is not the first."""
    after = cursor_of(request)
    if after is not None:
        rows = rows.filter(pk__lt=after) if newest_first else rows.filter(pk__gt=after)
    found = list(rows.order_by("-pk" if newest_first else "pk")[: PAGE + 1])
    return {
        "rows": found[:PAGE],
        "next": found[PAGE - 1].pk if len(found) > PAGE else None,
        "paged": after is not None,
    }


def living(tenant: Tenant) -> Any:
    """The tenant's entitlements that have not expired."""
    return Entitlement.objects.filter(tenant=tenant).exclude(state=EntitlementState.EXPIRED.value)


def live_rows(entitlements: list[Entitlement]) -> list[tuple[Entitlement, LiveRow | None, Any]]:
    """Each with its live numbers and bars; one read of the hot store."""
    now = entitlements_now(entitlements, now_ms())
    return [(row, now.get(row.pk), bullets(now.get(row.pk))) for row in entitlements]


def overview(request: HttpRequest, tenant: Tenant, now: datetime) -> Context:
    """The first entitlements, and the tokens of the day as a chart."""
    rows = living(tenant)
    first = list(rows.select_related("pool", "tier").order_by("pool__slug", "pk")[:FEW])
    span = range_of(request.GET.get("range", "24h"))
    return {"lines": live_rows(first), "total": rows.count(), "ranges": RANGES, "range": span}


def entitlements(request: HttpRequest, tenant: Tenant, now: datetime) -> Context:
    """Every entitlement with its live numbers; ended ones when asked for."""
    ended = request.GET.get("ended") == "1"
    rows = Entitlement.objects.filter(tenant=tenant) if ended else living(tenant)
    found = cut(rows.select_related("pool", "tier"), request, newest_first=False)
    return {**found, "lines": live_rows(found["rows"]), "ended": ended}


def usage(request: HttpRequest, tenant: Tenant, now: datetime) -> Context:
    """Tokens over a range, by key and pool."""
    span = range_of(request.GET.get("range", "24h"))
    return {"rows": usage_rows(tenant, span, now, most=PAGE), "ranges": RANGES, "range": span}


def keys(request: HttpRequest, tenant: Tenant, now: datetime) -> Context:
    """Keys, the newest first."""
    rows = ApiKey.objects.filter(tenant=tenant).select_related("created_by")
    return cut(rows, request)


def members(request: HttpRequest, tenant: Tenant, now: datetime) -> Context:
    """People and open invitations."""
    rows = Membership.objects.filter(tenant=tenant).select_related("user")
    return {**cut(rows, request, newest_first=False), "invitations": invitation_list(tenant, now, PAGE)}


def debt(request: HttpRequest, tenant: Tenant, now: datetime) -> Context:
    """The balance, its line, and the latest postings."""
    after = cursor_of(request)
    rows = tenant_reads.debt_statement(tenant, after, PAGE)
    return {
        "balance": tenant_reads.debt_balance(tenant),
        "rows": rows,
        "ranges": RANGES,
        "range": range_of(request.GET.get("range", "24h")),
        "next": rows[-1].entry_id if len(rows) == PAGE else None,
        "paged": after is not None,
    }


def requests(request: HttpRequest, tenant: Tenant, now: datetime) -> Context:
    """What the tenant asked for, and what came of it."""
    rows = EntitlementRequest.objects.filter(tenant=tenant).select_related("pool", "created_by", "decided_by")
    return cut(rows, request)


def history(request: HttpRequest, tenant: Tenant, now: datetime) -> Context:
    """Every change of the tenant and of what is its own."""
    rows, following = audit.tenant_page(PLATFORM, tenant, cursor_of(request))
    return {"lines": [line(row) for row in rows], "next": following, "paged": cursor_of(request) is not None}


TABS = (
    Tab("", "Overview", overview),
    Tab("entitlements", "Entitlements", entitlements),
    Tab("usage", "Usage", usage),
    Tab("keys", "Keys", keys),
    Tab("members", "Members", members),
    Tab("debt", "Debt", debt),
    Tab("requests", "Requests", requests),
    Tab("history", "History", history),
)


def tab_of(name: str) -> Tab:
    """The tab of a name in the address; the first for anything else."""
    return next((tab for tab in TABS if tab.key == name), TABS[0])


class Badges(NamedTuple):
    """How many of each there are; shown beside the tabs and on the tiles."""

    entitlements: int
    keys: int
    members: int
    requests: int


def badges(tenant: Tenant, now: datetime) -> Badges:
    """Four counts by the tenant's own indexes."""
    working = ApiKey.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), revoked_at__isnull=True)
    return Badges(
        living(tenant).count(),
        working.filter(tenant=tenant).count(),
        Membership.objects.filter(tenant=tenant).count(),
        EntitlementRequest.objects.filter(tenant=tenant, state="open").count(),
    )
