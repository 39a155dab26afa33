"""EntitlementRequest: a tenant asks for more; an operator approves or denies with a reason."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from pools.models.entitlements import Entitlement
from pools.models.pools import Pool
from portal.accounts.models import Tenant
from portal.lib.clock import now


class RequestState(models.TextChoices):
    """open → approved, denied or withdrawn; back to open only by the undo of that decision, while nothing is newer."""

    OPEN = "open", "Waiting for an operator"
    APPROVED = "approved", "Approved"
    DENIED = "denied", "Denied"
    WITHDRAWN = "withdrawn", "Withdrawn"


class EntitlementRequest(models.Model):
    """What a tenant would like its base to be in one pool."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="entitlement_requests")
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="entitlement_requests")
    entitlement = models.ForeignKey(
        Entitlement, null=True, blank=True, on_delete=models.PROTECT, related_name="requests"
    )
    asked_tokens_per_second = models.BigIntegerField()
    asked_kv_bytes = models.BigIntegerField()
    asked_concurrency = models.IntegerField()
    reason = models.TextField()
    state = models.CharField(max_length=16, choices=RequestState.choices, default=RequestState.OPEN)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    created_at = models.DateTimeField(default=now, editable=False)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["state", "-id"], name="entrequest_by_state")]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "pool"], condition=models.Q(state="open"), name="entrequest_one_open_per_pool"
            ),
            models.CheckConstraint(
                condition=models.Q(asked_tokens_per_second__gte=0, asked_kv_bytes__gte=0, asked_concurrency__gte=0),
                name="entrequest_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"request #{self.pk}"
