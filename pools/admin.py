"""Rows of the capacity domain in the back office, for superusers to look at."""

from __future__ import annotations

from django.contrib import admin

from pools.models import CapacityProfile, Endpoint, Entitlement, Pool, ScalingDecision, Tier, TierVersion
from portal.accounts.admin import ReadOnly


@admin.register(Pool)
class PoolAdmin(ReadOnly):
    """Pools."""

    list_display = ("slug", "model_name", "provider", "min_replicas", "max_replicas", "wanted_replicas")


@admin.register(Tier)
class TierAdmin(ReadOnly):
    """Tiers."""

    list_display = ("slug", "service_class", "current")
    list_select_related = ("current",)


@admin.register(Entitlement)
class EntitlementAdmin(ReadOnly):
    """Entitlements."""

    list_display = ("slug", "tenant", "pool", "tier", "state")
    list_select_related = ("tenant", "pool", "tier")
    search_fields = ("slug",)


admin.site.register([TierVersion, CapacityProfile, Endpoint, ScalingDecision], ReadOnly)
