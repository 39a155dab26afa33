"""What a tenant's pages read. Call inside ``tenant_scope``: the database itself then hides everybody else's rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Sum

from billing.models import Account, Entry
from pools.choices import EntitlementState
from pools.models import Entitlement
from portal.accounts.models import Tenant
from portal.dashboards.live_state import Triple
from portal.dashboards.series import Range

USUAL_OVER = 200
DEFAULT_USUAL: Triple = (256.0, 0.0, 1.0)


def entitlements_of(tenant: Tenant) -> list[Entitlement]:
    """The tenant's living entitlements, in a fixed order."""
    rows = Entitlement.objects.filter(tenant=tenant).exclude(state=EntitlementState.EXPIRED)
    return list(rows.select_related("pool", "tier__current").order_by("pool__slug", "id")[:200])


def usual_request(tenant: Tenant, entitlement_id: int) -> Triple:
    """The mean of the last settled requests: tokens, KV bytes, slots. The default when there is none yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT avg(charged_tokens), avg(kv_bytes), avg(concurrency)"
            " FROM (SELECT charged_tokens, kv_bytes, concurrency FROM billing_usageevent"
            " WHERE tenant_id = %s AND entitlement_id = %s ORDER BY settled_at DESC LIMIT %s) AS latest",
            [tenant.pk, entitlement_id, USUAL_OVER],
        )
        means: Any = cursor.fetchone() or (None, None, None)
    tokens, kv_bytes, slots = means
    return DEFAULT_USUAL if tokens is None else (float(tokens), float(kv_bytes), float(slots))


class Posting(NamedTuple):
    """One line of the debt statement, in tokens."""

    entry_id: int
    at: datetime
    kind: str
    pool: str
    tokens: float
    balance: float
    details: dict[str, Any]


def debt_balance(tenant: Tenant) -> float:
    """What the platform owes the tenant, in tokens; negative when more was served than promised."""
    total = Account.objects.filter(tenant=tenant).aggregate(total=Sum("balance_millitokens"))["total"]
    return (total or 0) / 1000


def debt_statement(tenant: Tenant, before: int | None, most: int = 50) -> list[Posting]:
    """Postings, newest first, each with the balance after it; ``before`` is the cursor (an entry id)."""
    entries = Entry.objects.filter(account__tenant=tenant)
    total = round(debt_balance(tenant) * 1000)
    if before is not None:  # the newer ones are fewer than all that ever were
        later = entries.filter(pk__gte=before).aggregate(total=Sum("amount_millitokens"))["total"]
        total -= later or 0
        entries = entries.filter(pk__lt=before)
    rows = []
    for entry in entries.select_related("transfer__pool").order_by("-pk")[:most]:
        move = entry.transfer
        rows.append(
            Posting(
                entry.pk,
                move.at,
                move.kind,
                move.pool.slug,
                entry.amount_millitokens / 1000,
                total / 1000,
                move.details,
            )
        )
        total -= entry.amount_millitokens
    return rows


def debt_series(tenant: Tenant, span: Range, now: datetime) -> list[tuple[datetime, float]]:
    """The balance after each step of the span, in tokens."""
    since = now - timedelta(seconds=span.seconds)
    mine = Entry.objects.filter(account__tenant=tenant)
    start = mine.filter(transfer__at__lt=since).aggregate(total=Sum("amount_millitokens"))["total"] or 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT date_bin(%s, t.at, TIMESTAMPTZ '2020-01-01') AS bin, sum(e.amount_millitokens) FROM billing_entry e"
            " JOIN billing_account a ON a.id = e.account_id JOIN billing_transfer t ON t.id = e.transfer_id"
            " WHERE a.tenant_id = %s AND t.at >= %s GROUP BY bin ORDER BY bin",
            [str(timedelta(seconds=span.step_s)), tenant.pk, since],
        )
        steps = cursor.fetchall()
    points, balance = [(since, start / 1000)], float(start)
    for at, change in steps:
        balance += float(change)
        points.append((max(at, since), balance / 1000))
    points.append((now, balance / 1000))
    return points if steps or start else []
