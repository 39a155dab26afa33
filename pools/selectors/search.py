"""Search over everything with a name, within what the person may see: an operator all, others only their tenants'."""

from __future__ import annotations

from typing import NamedTuple

from django.db.models import Q, QuerySet

from pools.choices import EntitlementState
from pools.models import Entitlement, Pool, Tier
from portal.accounts.models import Tenant, User

MOST = 6
MOST_LETTERS = 200


class Hit(NamedTuple):
    """One thing found. ``kind`` is tenant, pool, tier or entitlement; ``tenant`` the slug for a tenant's own pages."""

    kind: str
    label: str
    detail: str
    slug: str
    tenant: str = ""


def search(user: User, text: str) -> list[Hit]:
    """At most six of each kind, best first (a name that begins with the text comes before one that holds it)."""
    text = text.strip()[:MOST_LETTERS]
    if not text or "\x00" in text:
        return []
    mine = None if user.reads_everything else list(user.memberships.values_list("tenant_id", flat=True)[:200])
    return [*_tenants(text, mine), *_pools(text, mine), *_tiers(text, mine), *_entitlements(text, mine)]


def _named(text: str) -> Q:
    return Q(name__icontains=text) | Q(slug__icontains=text)


def _best(hits: list[Hit], text: str) -> list[Hit]:
    low = text.lower()
    return sorted(hits, key=lambda hit: not (hit.label.lower().startswith(low) or hit.slug.startswith(low)))[:MOST]


def _tenants(text: str, mine: list[int] | None) -> list[Hit]:
    rows = Tenant.objects.filter(_named(text))
    if mine is not None:
        rows = rows.filter(pk__in=mine)
    return _best([Hit("tenant", row.name, row.slug, row.slug, row.slug) for row in rows.order_by("slug")[:50]], text)


def _pools(text: str, mine: list[int] | None) -> list[Hit]:
    rows = Pool.objects.filter(_named(text) | Q(model_name__icontains=text), archived_at__isnull=True)
    if mine is None:
        found = [Hit("pool", row.name, row.model_name, row.slug) for row in rows.order_by("slug")[:50]]
        return _best(found, text)
    held = _living().filter(tenant_id__in=mine, pool__in=rows).select_related("pool", "tenant").order_by("pk")[:50]
    seen = {(row.pool.slug, row.tenant.slug): row for row in held}
    return _best([Hit("pool", r.pool.name, r.tenant.name, r.pool.slug, r.tenant.slug) for r in seen.values()], text)


def _tiers(text: str, mine: list[int] | None) -> list[Hit]:
    if mine is not None:  # products are the operator's; a tenant sees its own on its home page
        return []
    rows = Tier.objects.filter(_named(text), archived_at__isnull=True).order_by("slug")[:50]
    return _best([Hit("tier", row.name, row.service_class, row.slug) for row in rows], text)


def _entitlements(text: str, mine: list[int] | None) -> list[Hit]:
    rows = _living().filter(slug__icontains=text).select_related("tenant", "pool", "tier")
    if mine is not None:
        rows = rows.filter(tenant_id__in=mine)
    return [
        Hit(
            "entitlement",
            row.slug,
            f"{row.tier.name}, {row.state}",
            row.pool.slug if mine is not None else row.slug,
            row.tenant.slug,
        )
        for row in rows.order_by("slug")[:MOST]
    ]


def _living() -> QuerySet[Entitlement]:
    return Entitlement.objects.exclude(state=EntitlementState.EXPIRED.value)
