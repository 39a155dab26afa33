"""AuditRecord: one row per change, each carrying the hash of the one before it."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from portal.accounts.models import Tenant


class Source(models.TextChoices):
    """Where a change came from."""

    PAGE = "page", "Page"
    API = "api", "API"
    TASK = "task", "Task"
    COMMAND = "command", "Command"


class AuditRecord(models.Model):
    """Append-only (a trigger refuses updates and deletes)."""

    at = models.DateTimeField()
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    actor_label = models.CharField(max_length=254)
    source = models.CharField(max_length=16, choices=Source.choices)
    verb = models.CharField(max_length=64)
    object_type = models.CharField(max_length=64)
    object_id = models.CharField(max_length=64)
    object_label = models.CharField(max_length=254)
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    reason = models.TextField(blank=True)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["object_type", "object_id", "-id"], name="audit_by_object"),
            models.Index(fields=["tenant", "-id"], name="audit_by_tenant"),
            models.Index(fields=["-at"], name="audit_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.object_label}"
