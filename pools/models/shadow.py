"""What a tier version in shadow would have refused: how far each was judged, and its counts by minute."""

from __future__ import annotations

from django.db import models

from pools.models.entitlements import Entitlement
from pools.models.tiers import TierVersion


class ShadowRun(models.Model):
    """One version in shadow from its first whole minute on. Minutes before ``judged_until`` were judged once, those
    before ``settled_until`` again, when requests that ran long had ended. ``ended_at``: it watches no more."""

    version = models.OneToOneField(TierVersion, primary_key=True, on_delete=models.CASCADE, related_name="shadow_run")
    since = models.DateTimeField()
    judged_until = models.DateTimeField()
    settled_until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-since"]

    def __str__(self) -> str:
        return f"shadow run #{self.pk}"


class ShadowMinute(models.Model):
    """One entitlement in one minute: ``asked`` counts the requests that were judged, ``refused_now`` those the terms in
    force refused, ``refused`` is {refusal code: count} of those the terms in shadow would have."""

    version = models.ForeignKey(TierVersion, on_delete=models.CASCADE, related_name="shadow_minutes")
    entitlement = models.ForeignKey(Entitlement, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
    asked = models.PositiveIntegerField()
    refused_now = models.PositiveIntegerField(default=0)
    refused = models.JSONField(default=dict)

    class Meta:
        ordering = ["at"]
        constraints = [models.UniqueConstraint(fields=["version", "entitlement", "at"], name="shadowminute_once")]
        indexes = [models.Index(fields=["version", "at"], name="shadowminute_by_time")]

    def __str__(self) -> str:
        return f"shadow minute #{self.pk}"
