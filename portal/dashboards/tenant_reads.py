"""What a tenant's pages read. Call inside ``tenant_scope``: the database itself then hides everybody else's rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import F, Sum

from billing.models import Account, Entry, UsageHour, UsageMinute
from pools.choices import EntitlementState
from pools.models import Entitlement
from portal.accounts.models import ApiKey, Tenant
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


class UsageRow(NamedTuple):
    """Usage of one key of one entitlement."""

    key: str
    pool: str
    requests: int
    failed: int
    input_tokens: int
    output_tokens: int
    charged_tokens: int
    ttft_ms: float | None


def _model(span: Range) -> type[UsageMinute] | type[UsageHour]:
    return UsageMinute if span.seconds <= 86_400 else UsageHour


def usage_by_key(tenant: Tenant, span: Range, now: datetime) -> list[UsageRow]:
    """Usage over a span, by key and pool, most tokens first."""
    found: Any = (
        _model(span)
        .objects.filter(tenant_id=tenant.pk, at__gte=now - timedelta(seconds=span.seconds))
        .values("key_id", "entitlement_id")
        .annotate(
            **{
                f"sum_{name}": Sum(name)
                for name in ("requests", "failed", "input_tokens", "output_tokens", "charged_tokens")
            },
            ttft=Sum("ttft_ms_sum"),
            ttft_n=Sum("ttft_count"),
        )
        .order_by(F("sum_charged_tokens").desc())[:500]
    )
    keys = {key.pk: f"{key.name} ({key.prefix}…)" for key in ApiKey.objects.filter(tenant=tenant)}
    pools = dict(Entitlement.objects.filter(tenant=tenant).values_list("pk", "pool__slug"))
    return [
        UsageRow(
            keys.get(row["key_id"], "no key"),
            pools.get(row["entitlement_id"], "?"),
            row["sum_requests"],
            row["sum_failed"],
            row["sum_input_tokens"],
            row["sum_output_tokens"],
            row["sum_charged_tokens"],
            row["ttft"] / row["ttft_n"] if row["ttft_n"] else None,
        )
        for row in found
    ]


def usage_steps(tenant: Tenant, span: Range, now: datetime) -> tuple[int, list[tuple[datetime, float, float]]]:
    """(seconds per step, [(step, input tokens, output tokens)])."""
    step_s = {900: 60, 3600: 60, 86_400: 1800}.get(span.seconds, 10_800)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT date_bin(%s, at, TIMESTAMPTZ '2020-01-01') AS bin, sum(input_tokens), sum(output_tokens)"  # noqa: S608
            f" FROM {_model(span)._meta.db_table} WHERE tenant_id = %s AND at >= %s GROUP BY bin ORDER BY bin",
            [str(timedelta(seconds=step_s)), tenant.pk, now - timedelta(seconds=span.seconds)],
        )
        return step_s, [(at, float(a), float(b)) for at, a, b in cursor.fetchall()]


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
