"""Usage and debt of tenants, from roll-ups and the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Sum

from billing.models import Account, Transfer, UsageHour, UsageMinute
from billing.models.ledger import AccountKind
from portal.accounts.viewer import Viewer

BY_MINUTE_UP_TO = timedelta(hours=6)
OWNERS = ("tenant_id", "pool_id", "entitlement_id", "key_id")
SUMS = ("requests", "failed", "input_tokens", "output_tokens", "cached_tokens", "charged_tokens")


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Sums of one entitlement and key in a range."""

    tenant_id: int
    pool_id: int
    entitlement_id: int
    key_id: int
    requests: int
    failed: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    charged_tokens: int


def usage_by_key(viewer: Viewer, start: datetime, end: datetime) -> list[UsageRow]:
    """Sums per entitlement and key, the largest first. One query; minutes for short ranges, hours for long ones."""
    model = UsageMinute if end - start <= BY_MINUTE_UP_TO else UsageHour
    with viewer.scope():
        rows: Any = (
            model.objects.filter(at__gte=start, at__lt=end)
            .values(*OWNERS)
            .annotate(**{f"{name}_sum": Sum(name) for name in SUMS})
            .order_by(F("charged_tokens_sum").desc(), "entitlement_id", "key_id")
        )
        return [UsageRow(*(row[name] for name in OWNERS), *(int(row[f"{name}_sum"]) for name in SUMS)) for row in rows]


@dataclass(frozen=True, slots=True)
class DebtRow:
    """What one entitlement is owed, in milli-tokens."""

    tenant_id: int
    pool_id: int
    entitlement_id: int
    owed_millitokens: int


def debt_list(viewer: Viewer) -> list[DebtRow]:
    """Every debt account the viewer may see, the largest balance first. One query."""
    with viewer.scope():
        rows = Account.objects.filter(kind=AccountKind.ENTITLEMENT_DEBT).order_by("-balance_millitokens", "pk")
        return [
            DebtRow(row.tenant_id or 0, row.pool_id, row.entitlement_id or 0, row.balance_millitokens) for row in rows
        ]


def transfer_list(viewer: Viewer, *, before: datetime | None = None, count: int = 100) -> list[Transfer]:
    """The latest transfers with their entries, newest first. Two queries."""
    with viewer.scope():
        rows = Transfer.objects.prefetch_related("entries").order_by("-at", "-pk")
        if before is not None:
            rows = rows.filter(at__lt=before)
        return list(rows[: min(count, 1000)])
