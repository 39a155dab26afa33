"""A tenant's own entitlements: which pools it may choose between, and the one it looks at. Call inside its scope."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When

from pools.choices import EntitlementState
from pools.models import Entitlement
from portal.accounts.models import Tenant

MOST = 500


def own_living(tenant: Tenant) -> QuerySet[Entitlement]:
    """Its entitlements that have not expired."""
    return Entitlement.objects.filter(tenant=tenant).exclude(state=EntitlementState.EXPIRED.value)


def own_pools(tenant: Tenant) -> list[tuple[str, str]]:
    """(slug, name) of every pool it holds something in, by name; at most 500."""
    rows = own_living(tenant).order_by("pool__slug").values_list("pool__slug", "pool__name").distinct()
    return list(rows[:MOST])


def own_entitlement(tenant: Tenant, pool_slug: str, now: datetime) -> Entitlement | None:
    """What it holds in a pool (empty: in the first one where it is bound), the window that is open before others."""
    rows = own_living(tenant).select_related("pool__current_profile", "tier__current")
    if pool_slug:
        rows = rows.filter(pool__slug=pool_slug)
    open_now = Q(valid_from__lte=now) & (Q(valid_until__isnull=True) | Q(valid_until__gt=now))
    serving = Q(state__in=(EntitlementState.BOUND.value, EntitlementState.DEGRADED.value))
    standing = Case(
        When(open_now & serving, then=Value(0)),
        When(open_now, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
    return rows.annotate(standing=standing).order_by("standing", "pool__slug", "valid_from", "pk").first()
