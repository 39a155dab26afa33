"""ScalingDecision: what the autoscaler saw, what it wanted, why, and whether it was done."""

from __future__ import annotations

from django.db import models

from pools.models.pools import CapacityProfile, Pool


class ScalingDecision(models.Model):
    """Append-only. A row is written whenever the chosen number or the reason changes."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="decisions")
    at = models.DateTimeField()
    ready = models.PositiveIntegerField()
    pending = models.PositiveIntegerField()
    before = models.PositiveIntegerField(help_text="Replicas wanted before this decision")
    floor = models.PositiveIntegerField(help_text="Replicas the promises alone need")
    need = models.FloatField(help_text="Replicas the demand needs, before rounding")
    chosen = models.PositiveIntegerField()
    code = models.CharField(max_length=40)
    reason = models.CharField(max_length=300)
    dimension = models.CharField(max_length=16, blank=True)
    inputs = models.JSONField(default=dict)
    profile = models.ForeignKey(CapacityProfile, null=True, on_delete=models.PROTECT, related_name="+")
    applied = models.BooleanField(default=False)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["pool", "-at"], name="decision_by_pool"),
            models.Index(fields=["-at", "-id"], name="decision_by_time"),
            models.Index(fields=["code", "-at"], name="decision_by_code"),
        ]

    def __str__(self) -> str:
        return f"{self.before}→{self.chosen}"
