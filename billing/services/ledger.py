"""The only writer of ledger rows: debts accrue and are repaid in balanced pairs, each period of an entitlement once.

A period is what the tick sampled since the last posting of the pool; its idempotency key names the entitlement and the
period's end. Posting again, after a crash or by two workers, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from billing.mechanism.postings import Posting, posting
from billing.models import Account, Entry, Transfer
from billing.models.ledger import AccountKind
from pools.models import Pool

LEDGER_LOCK = 0x746F6B71  # advisory lock: one poster at a time
GAPS = """
SELECT entitlement_id, tenant_id, sum(gap_tokens) AS gap, count(*) AS samples,
       min(at - elapsed_s * interval '1 second') AS period_start, max(at) AS period_end
FROM pools_entitlementsample
WHERE pool_id = %s AND at > %s AND at <= %s AND gap_tokens <> 0
GROUP BY entitlement_id, tenant_id ORDER BY entitlement_id
"""


@dataclass(frozen=True, slots=True)
class Posted:
    """What one run posted: transfers, and milli-tokens accrued and repaid."""

    transfers: int = 0
    accrued: int = 0
    repaid: int = 0

    def __add__(self, other: Posted) -> Posted:
        return Posted(self.transfers + other.transfers, self.accrued + other.accrued, self.repaid + other.repaid)


@dataclass(frozen=True, slots=True)
class Gap:
    """Tokens one entitlement was served below (+) or above (-) its promise in a period."""

    entitlement_id: int
    tenant_id: int
    tokens: float
    samples: int
    period_start: datetime
    period_end: datetime


def ledger_post(now: datetime) -> Posted:
    """Posts what the tick sampled since the last time, pool by pool. Safe at any time, any number of times."""
    posted = Posted()
    for pool_id in Pool.objects.order_by("pk").values_list("pk", flat=True):
        posted += pool_ledger_post(pool_id, now)
    return posted


@transaction.atomic
def pool_ledger_post(pool_id: int, now: datetime) -> Posted:
    """One pool's part, in one transaction with the mark that says how far it came."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LEDGER_LOCK, pool_id])
    obligations = _pool_account(pool_id)
    gaps = _gaps(pool_id, obligations.posted_until, now)
    if not gaps:
        return Posted()
    accounts = _accounts(pool_id, gaps)
    moves: list[tuple[Gap, Posting, Account]] = []
    for gap in gaps:
        account = accounts[gap.entitlement_id]
        move = posting(gap.tokens, account.balance_millitokens)
        if move is not None:
            moves.append((gap, move, account))
    _write(pool_id, moves, obligations, now)
    obligations.posted_until = max(gap.period_end for gap in gaps)
    obligations.save(update_fields=["posted_until", "balance_millitokens"])
    return Posted(
        len(moves),
        sum(move.amount for _, move, _ in moves if move.kind == "accrual"),
        sum(move.amount for _, move, _ in moves if move.kind == "repayment"),
    )


def idempotency_key(entitlement_id: int, period_end: datetime) -> str:
    """One posting for each entitlement and period."""
    return f"gap:{entitlement_id}:{round(period_end.timestamp() * 1000)}"


def _write(pool_id: int, moves: Sequence[tuple[Gap, Posting, Account]], obligations: Account, now: datetime) -> None:
    transfers = Transfer.objects.bulk_create(
        Transfer(
            pool_id=pool_id,
            tenant_id=gap.tenant_id,
            kind=move.kind,
            at=now,
            period_start=gap.period_start,
            period_end=gap.period_end,
            idempotency_key=idempotency_key(gap.entitlement_id, gap.period_end),
            details={"entitlement": gap.entitlement_id, "gap_tokens": round(gap.tokens, 3), "samples": gap.samples},
        )
        for gap, move, _ in moves
    )
    entries: list[Entry] = []
    for transfer, (_, move, account) in zip(transfers, moves, strict=True):
        for owner, amount in zip((account, obligations), move.entries, strict=True):
            entries.append(Entry(transfer=transfer, account=owner, amount_millitokens=amount))
            owner.balance_millitokens += amount
    Entry.objects.bulk_create(entries)
    Account.objects.bulk_update([account for _, _, account in moves], ["balance_millitokens"])


def _pool_account(pool_id: int) -> Account:
    Account.objects.bulk_create([Account(kind=AccountKind.POOL_OBLIGATION, pool_id=pool_id)], ignore_conflicts=True)
    return Account.objects.select_for_update(no_key=True).get(kind=AccountKind.POOL_OBLIGATION, pool_id=pool_id)


def _accounts(pool_id: int, gaps: Sequence[Gap]) -> dict[int, Account]:
    """The gaps' entitlements' accounts, opened where there is none, under their entitlement ids."""
    Account.objects.bulk_create(
        [
            Account(
                kind=AccountKind.ENTITLEMENT_DEBT,
                pool_id=pool_id,
                entitlement_id=gap.entitlement_id,
                tenant_id=gap.tenant_id,
            )
            for gap in gaps
        ],
        ignore_conflicts=True,
    )
    rows = Account.objects.filter(entitlement_id__in=[gap.entitlement_id for gap in gaps])
    return {row.entitlement_id: row for row in rows if row.entitlement_id is not None}


def _gaps(pool_id: int, after: datetime | None, until: datetime) -> list[Gap]:
    with connection.cursor() as cursor:
        cursor.execute(GAPS, [pool_id, after or "-infinity", until])
        return [
            Gap(entitlement, tenant, float(gap), samples, start, end)
            for entitlement, tenant, gap, samples, start, end in cursor.fetchall()
        ]
