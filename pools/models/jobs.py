"""BulkJob: one deed on many entitlements, done in the background item by item, cancellable, with a report."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from pools.models.entitlements import Entitlement
from portal.lib.clock import now


class JobState(models.TextChoices):
    """waiting → running → done; cancelled and failed end it early, what was done stays done and is reported."""

    WAITING = "waiting", "Waiting for a worker"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"


class ItemState(models.TextChoices):
    """Each item is done or refused on its own."""

    WAITING = "waiting", "Waiting"
    DONE = "done", "Done"
    UNCHANGED = "unchanged", "Already so"
    REFUSED = "refused", "Refused"
    CANCELLED = "cancelled", "Not done: cancelled"


class BulkJob(models.Model):
    """What is to be done to each item, by whom, why, and how far it is."""

    action = models.CharField(max_length=40)
    parameters = models.JSONField(default=dict)
    selection = models.JSONField(default=dict, help_text="The filter or the ids the items were chosen by")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    reason = models.TextField(blank=True)
    state = models.CharField(max_length=16, choices=JobState.choices, default=JobState.WAITING)
    total = models.PositiveIntegerField(default=0)
    finished = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    published = models.PositiveIntegerField(
        default=0, help_text="Items up to this position are in the hot store: a resumed job publishes the rest first"
    )
    cancel_asked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["state", "id"], name="bulkjob_by_state")]

    def __str__(self) -> str:
        return f"bulk job #{self.pk}"


class BulkItem(models.Model):
    """One entitlement of a job and what became of it."""

    job = models.ForeignKey(BulkJob, on_delete=models.CASCADE, related_name="items")
    entitlement = models.ForeignKey(Entitlement, on_delete=models.PROTECT, related_name="+")
    position = models.PositiveIntegerField()
    state = models.CharField(max_length=16, choices=ItemState.choices, default=ItemState.WAITING)
    sentence = models.CharField(max_length=500, blank=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    class Meta:
        ordering = ["job", "position"]
        constraints = [
            models.UniqueConstraint(fields=["job", "entitlement"], name="bulkitem_once"),
            models.UniqueConstraint(fields=["job", "position"], name="bulkitem_position_once"),
        ]
        indexes = [models.Index(fields=["job", "state", "position"], name="bulkitem_by_state")]

    def __str__(self) -> str:
        return f"item {self.position} of job #{self.job_id}"
