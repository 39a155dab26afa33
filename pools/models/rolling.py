"""RollingRestart: the endpoints of a pool restarted one after the other; where it stands, so that any worker goes on
with it."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from pools.models.pools import Endpoint, Pool
from portal.lib.clock import now


class RollingState(models.TextChoices):
    """running → done; cancelled by somebody, halted where a replacement does not come up: the rest is left alone."""

    RUNNING = "running", "Running"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"
    HALTED = "halted", "Halted"


class RollingRestart(models.Model):
    """``endpoints`` are the ids in their order, ``position`` how many of them are behind it: restarted or passed over.
    ``current`` is the one that is away now; ``said`` what it waits for, or how it ended."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="rolling_restarts")
    endpoints = models.JSONField(default=list)
    position = models.PositiveIntegerField(default=0)
    passed_over = models.PositiveIntegerField(default=0, help_text="Went away by themselves or were taken back")
    accepted = models.PositiveIntegerField(
        default=0, help_text="Promises that whoever started it saw could not be kept while one endpoint is away"
    )
    current = models.ForeignKey(Endpoint, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(max_length=16, choices=RollingState.choices, default=RollingState.RUNNING)
    said = models.CharField(max_length=500, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    looked_at = models.DateTimeField(default=now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["pool", "-id"], name="rollingrestart_by_pool")]
        constraints = [
            models.UniqueConstraint(
                fields=["pool"], condition=models.Q(state="running"), name="rollingrestart_one_per_pool"
            )
        ]

    def __str__(self) -> str:
        return f"rolling restart #{self.pk}"

    @property
    def total(self) -> int:
        """How many endpoints it is about."""
        return len(self.endpoints)

    @property
    def restarted(self) -> int:
        """How many were restarted so far."""
        return self.position - self.passed_over
