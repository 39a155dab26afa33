"""ShadowMinute: what a tier version in shadow would have refused of one entitlement's real requests in one minute."""

from __future__ import annotations

from django.db import models

from pools.models.entitlements import Entitlement
from pools.models.tiers import TierVersion


class ShadowMinute(models.Model):
    """``refused`` is {refusal code: count}; ``asked`` counts the requests that were judged."""

    version = models.ForeignKey(TierVersion, on_delete=models.CASCADE, related_name="shadow_minutes")
    entitlement = models.ForeignKey(Entitlement, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
    asked = models.PositiveIntegerField()
    refused = models.JSONField(default=dict)

    class Meta:
        ordering = ["at"]
        constraints = [models.UniqueConstraint(fields=["version", "entitlement", "at"], name="shadowminute_once")]

    def __str__(self) -> str:
        return f"shadow minute #{self.pk}"
