"""Entitlement: what one tenant is promised in one pool under one tier."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeBoundary, RangeOperators
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Func, Q

from pools.choices import EntitlementState
from pools.models.pools import Pool
from pools.models.tiers import Tier
from portal.accounts.models import Tenant
from portal.lib.clock import now


class TsTzRange(Func):
    """tstzrange(from, until, '[)') of two columns."""

    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


class Entitlement(models.Model):
    """Base is promised, cap is the ceiling (empty: base times the tier's burst multiplier)."""

    slug = models.SlugField(max_length=128, unique=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="entitlements")
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="entitlements")
    tier = models.ForeignKey(Tier, on_delete=models.PROTECT, related_name="entitlements")
    base_tokens_per_second = models.BigIntegerField(default=0)
    base_kv_bytes = models.BigIntegerField(default=0)
    base_concurrency = models.IntegerField(default=0)
    cap_tokens_per_second = models.BigIntegerField(null=True, blank=True)
    cap_kv_bytes = models.BigIntegerField(null=True, blank=True)
    cap_concurrency = models.IntegerField(null=True, blank=True)
    valid_from = models.DateTimeField(default=now)
    valid_until = models.DateTimeField(null=True, blank=True)
    state = models.CharField(
        max_length=16, choices=[(s.value, s.value.capitalize()) for s in EntitlementState], default="pending"
    )
    state_reason = models.CharField(max_length=300, blank=True)
    state_since = models.DateTimeField(default=now)
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspended_with_tenant = models.BooleanField(default=False, help_text="Resumed when its tenant is")
    bound_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now)
    revision = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(base_tokens_per_second__gte=0) & Q(base_kv_bytes__gte=0) & Q(base_concurrency__gte=0),
                name="entitlement_base_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(valid_until__isnull=True) | Q(valid_until__gt=F("valid_from")),
                name="entitlement_window_order",
            ),
            ExclusionConstraint(
                name="entitlement_one_per_tenant_and_pool",
                expressions=[
                    (F("tenant"), RangeOperators.EQUAL),
                    (F("pool"), RangeOperators.EQUAL),
                    (TsTzRange("valid_from", "valid_until", RangeBoundary()), RangeOperators.OVERLAPS),
                ],
                condition=~Q(state="expired"),
            ),
        ]
        indexes = [
            models.Index(fields=["pool", "state"], name="entitlement_by_pool"),
            models.Index(fields=["tenant", "id"], name="entitlement_by_tenant"),
            models.Index(fields=["tier", "id"], name="entitlement_by_tier"),
            models.Index(fields=["pool", "id"], name="entitlement_by_pool_id"),
            models.Index(fields=["base_tokens_per_second", "id"], name="entitlement_by_tokens"),
            models.Index(fields=["valid_until", "id"], name="entitlement_by_end"),
            models.Index(fields=["updated_at", "id"], name="entitlement_by_change"),
            GinIndex(fields=["slug"], opclasses=["gin_trgm_ops"], name="entitlement_slug_trigrams"),
        ]

    def __str__(self) -> str:
        return self.slug
