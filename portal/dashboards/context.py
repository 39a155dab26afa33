"""The menu: what a person may open, and nothing else."""

from __future__ import annotations

from typing import Any, NamedTuple

import redis
from django.db.models import F
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from pools.selectors.alerts import SEVERE_FIRST, open_counts
from portal.accounts.choices import TenantRole
from portal.accounts.models import Tenant


class Item(NamedTuple):
    """One line of the menu. ``key`` is compared with the page's ``nav`` to mark where the reader is."""

    key: str
    label: str
    icon: str
    url: str
    shortcut: str = ""
    badge: int = 0
    level: str = ""


OPERATOR = (
    ("overview", "Overview", "layout-dashboard", "overview", "g o"),
    ("pools", "Pools", "server", "pools", "g p"),
    ("tiers", "Tiers", "layers", "tiers", "g t"),
    ("entitlements", "Entitlements", "ticket", "entitlements", "g e"),
    ("requests", "Requests", "inbox", "requests", "g r"),
    ("tenants", "Tenants", "building-2", "tenants", "g n"),
    ("fairness", "Fairness", "scale", "fairness", "g f"),
    ("scaling", "Scaling", "chart-no-axes-column-increasing", "scaling", "g s"),
    ("timeline", "Timeline", "chart-gantt", "timeline", "g l"),
    ("alerts", "Alerts", "bell", "alerts", "g a"),
    ("audit", "Audit", "scroll-text", "audit", "g u"),
    ("people", "People", "users", "people", "g m"),
    ("system", "System", "activity", "system", "g y"),
)
TENANT = (
    ("tenant-home", "Home", "gauge", "tenant-home", "g h"),
    ("tenant-usage", "Usage", "chart-column", "tenant-usage", "g c"),
    ("tenant-debt", "Debt", "scale", "tenant-debt", "g d"),
    ("tenant-limits", "Limits", "ruler", "tenant-limits", "g i"),
    ("tenant-keys", "Keys", "key-round", "tenant-keys", "g k"),
    ("tenant-members", "Members", "users", "tenant-members", "g b"),
    ("tenant-requests", "Requests for more", "inbox", "tenant-requests", "g q"),
    ("tenant-audit", "History", "scroll-text", "tenant-audit", "g v"),
)

FOR_ADMINS = frozenset({"tenant-audit"})
"""What only the admins of a tenant may open is not in the others' menu."""


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Context of every template: ``menu``, ``tenant_menu``, ``my_tenants``."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"menu": [], "tenant_menu": [], "my_tenants": []}
    match = getattr(request, "resolver_match", None)
    slug = match.kwargs.get("slug") if match is not None and (match.url_name or "").startswith("tenant-") else None
    if user.reads_everything:
        return {
            "menu": _counted(_items(OPERATOR)),
            "tenant_menu": _items(TENANT, slug) if slug else [],
            "my_tenants": [],
        }
    mine = Tenant.objects.filter(memberships__user=user).annotate(my_role=F("memberships__role"))
    tenants = list(mine.order_by("slug")[:50])
    slug = slug or (tenants[0].slug if tenants else None)
    admin = any(tenant.slug == slug and tenant.my_role == TenantRole.ADMIN for tenant in tenants)
    items = [item for item in _items(TENANT, slug) if admin or item.key not in FOR_ADMINS] if slug else []
    return {"menu": [], "tenant_menu": items, "my_tenants": tenants}


def _items(rows: tuple[tuple[str, str, str, str, str], ...], slug: str | None = None) -> list[Item]:
    items = []
    for key, label, icon, name, shortcut in rows:
        try:
            items.append(Item(key, label, icon, reverse(name, args=[slug] if slug else []), shortcut))
        except NoReverseMatch:  # a door that this installation does not have
            continue
    return items


def _counted(items: list[Item]) -> list[Item]:
    """The menu with the number of open alerts beside theirs: one read of the hot store, nothing while that is away."""
    try:
        counts = open_counts() or {}
    except redis.RedisError:
        return items
    worst = next((level for level in SEVERE_FIRST if counts.get(level)), "")
    return [item._replace(badge=sum(counts.values()), level=worst) if item.key == "alerts" else item for item in items]
