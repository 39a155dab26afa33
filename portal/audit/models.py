"""AuditRecord: one row per change with the hash of the one before it. AuditHead: the last one, kept beside the table.
AuditCheck: one walk along the chain."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Upper

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
            models.Index(fields=["-at", "-id"], name="audit_by_moment"),
            models.Index(fields=["verb", "-id"], name="audit_by_verb"),
            models.Index(fields=["source", "-id"], name="audit_by_source"),
            models.Index(fields=["object_type", "-id"], name="audit_by_type"),
            # of the text in capitals, for that is what icontains compares
            GinIndex(OpClass(Upper("actor_label"), "gin_trgm_ops"), name="audit_actor_trigrams"),
            GinIndex(OpClass(Upper("object_label"), "gin_trgm_ops"), name="audit_object_trigrams"),
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.object_label}"


class AuditHead(models.Model):
    """The last record that was appended, and how many there are: one row outside the table, so that records cut off at
    its end are missed. Triggers move it with every append, in the same transaction, and refuse any way back."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    record_id = models.BigIntegerField()
    hash = models.CharField(max_length=64, blank=True)
    count = models.BigIntegerField()

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="audithead_one_row")]

    def __str__(self) -> str:
        return f"{self.record_id}:{self.hash}"


class AuditCheck(models.Model):
    """One verification of the whole chain, done in slices; never removed. Its head is the anchor of the next ones.

    ``broken_id`` names the first record that does not fit, ``kind`` how (see ``portal.audit.chain.BreakKind``).
    """

    started_at = models.DateTimeField()
    moved_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    total = models.BigIntegerField(help_text="Records there were when it began")
    checked = models.BigIntegerField(default=0)
    head_id = models.BigIntegerField(default=0)
    head_hash = models.CharField(max_length=64, blank=True)
    broken_id = models.BigIntegerField(null=True)
    kind = models.CharField(max_length=16, blank=True)
    sentence = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"check #{self.pk}"

    @property
    def intact(self) -> bool:
        """Whether it went through to the end and found nothing."""
        return self.ended_at is not None and self.broken_id is None
