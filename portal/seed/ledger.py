"""Debts with their postings: every transfer balances, every balance is the sum of its entries."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from billing.models import Account, Entry, Transfer
from billing.models.ledger import AccountKind, TransferKind
from pools.choices import ServiceClass
from pools.models import Entitlement, Pool
from portal.lib.copying import copy_models, ids_take

POSTINGS = 6


def ledger_write(pools: Sequence[Pool], rows: Sequence[Entitlement], dice: random.Random, now: datetime) -> int:
    """An account for every pool, one with postings of the last day for each elastic entitlement of ``rows``.

    The pools' accounts say that everything up to now is posted, so that made-up samples are not posted again.
    """
    owners = {
        pool.pk: Account(pk=identity, kind=AccountKind.POOL_OBLIGATION, pool=pool, posted_until=now)
        for pool, identity in zip(pools, ids_take(Account, len(pools)), strict=True)
    }
    elastic = [row for row in rows if row.tier.service_class == ServiceClass.ELASTIC]
    debtors = [
        Account(
            pk=identity,
            kind=AccountKind.ENTITLEMENT_DEBT,
            pool_id=row.pool_id,
            entitlement=row,
            tenant_id=row.tenant_id,
        )
        for row, identity in zip(elastic, ids_take(Account, len(elastic)), strict=True)
    ]
    transfers = [
        (account, _transfer(account, number, dice, now)) for account in debtors for number in range(POSTINGS, 0, -1)
    ]
    for (_, transfer), identity in zip(transfers, ids_take(Transfer, len(transfers)), strict=True):
        transfer.pk = identity
    entries = [entry for account, transfer in transfers for entry in _entries(account, owners, transfer, dice)]
    copy_models([*owners.values(), *debtors])
    copy_models([transfer for _, transfer in transfers])
    copy_models(entries)
    return len(entries)


def _transfer(account: Account, number: int, dice: random.Random, now: datetime) -> Transfer:
    at = now - timedelta(hours=4 * number, minutes=dice.uniform(0, 200))
    kind = TransferKind.REPAYMENT if number % 3 == 0 and number != POSTINGS else TransferKind.ACCRUAL
    return Transfer(
        pool_id=account.pool_id,
        tenant_id=account.tenant_id or 0,
        kind=kind,
        at=at,
        period_start=at - timedelta(seconds=10),
        period_end=at,
        idempotency_key=f"seed:{account.entitlement_id}:{number}",
        details={"entitlement": account.entitlement_id, "samples": 2},
    )


def _entries(
    account: Account, owners: dict[int, Account], transfer: Transfer, dice: random.Random
) -> tuple[Entry, Entry]:
    amount = dice.randint(2_000, 900_000)
    if transfer.kind == TransferKind.REPAYMENT:
        amount = -min(amount, max(1, account.balance_millitokens))
    other = owners[account.pool_id]
    account.balance_millitokens += amount
    other.balance_millitokens -= amount
    return (
        Entry(transfer=transfer, account=account, amount_millitokens=amount),
        Entry(transfer=transfer, account=other, amount_millitokens=-amount),
    )
