"""The debt ledger in double entry: accounts, transfers, entries. Append-only; every transfer's entries sum to zero.

Unit: milli-tokens (whole numbers). A positive balance on an entitlement's account is owed to its tenant.
"""

from __future__ import annotations

from django.db import models

from pools.models import Entitlement, Pool
from portal.accounts.models import Tenant


class AccountKind(models.TextChoices):
    """Each entitlement's debt stands against its pool's obligations."""

    ENTITLEMENT_DEBT = "entitlement_debt", "Owed to the tenant"
    POOL_OBLIGATION = "pool_obligation", "Obligations of the pool"


class TransferKind(models.TextChoices):
    """accrual: served below the promise. repayment: above it while owed. forgiveness: the debt faded with time."""

    ACCRUAL = "accrual", "Accrual"
    REPAYMENT = "repayment", "Repayment"
    FORGIVENESS = "forgiveness", "Forgiveness"


class Account(models.Model):
    """One side of the books."""

    kind = models.CharField(max_length=20, choices=AccountKind.choices)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="accounts")
    entitlement = models.ForeignKey(
        Entitlement, null=True, blank=True, on_delete=models.PROTECT, related_name="accounts"
    )
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.PROTECT, related_name="accounts")
    balance_millitokens = models.BigIntegerField(default=0, help_text="Sum of its entries, kept by the ledger's writer")
    posted_until = models.DateTimeField(null=True, blank=True, help_text="On a pool's account: samples posted so far")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["entitlement"], name="account_once_per_entitlement"),
            models.UniqueConstraint(
                fields=["pool"], condition=models.Q(kind="pool_obligation"), name="account_once_per_pool"
            ),
            models.CheckConstraint(
                condition=models.Q(kind="pool_obligation", entitlement__isnull=True, tenant__isnull=True)
                | models.Q(kind="entitlement_debt", entitlement__isnull=False, tenant__isnull=False),
                name="account_kind_fits_owner",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"


class Transfer(models.Model):
    """One movement; ``idempotency_key`` makes posting it twice the same as once."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="transfers")
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="transfers")
    kind = models.CharField(max_length=16, choices=TransferKind.choices)
    at = models.DateTimeField()
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    idempotency_key = models.CharField(max_length=100, unique=True)
    details = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["tenant", "-at"], name="transfer_by_tenant")]

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"


class Entry(models.Model):
    """One account's part of a transfer, in milli-tokens; positive increases what the account is owed."""

    transfer = models.ForeignKey(Transfer, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="entries")
    amount_millitokens = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(amount_millitokens=0), name="entry_not_zero"),
            models.UniqueConstraint(fields=["transfer", "account"], name="entry_once_per_account"),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="entry_by_account")]

    def __str__(self) -> str:
        return f"entry #{self.pk}"
