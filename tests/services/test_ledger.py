"""Debts: posted from samples in balanced pairs, each period once."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, transaction
from django.db.models import Sum

from billing.models import Account, Entry, Transfer
from billing.services.ledger import ledger_post
from pools.models import EntitlementSample
from tests.cast import World, later, world_make


@pytest.fixture
def world() -> World:
    return world_make()


def sample(world: World, second: float, gap_tokens: float) -> None:
    EntitlementSample.objects.create(
        at=later(second),
        entitlement_id=world.eve.pk,
        pool_id=world.pool.pk,
        tenant_id=world.eve.tenant_id,
        elapsed_s=5.0,
        use_tokens_per_second=0,
        use_kv_bytes=0,
        use_concurrency=0,
        limit_tokens_per_second=0,
        limit_kv_bytes=0,
        limit_concurrency=0,
        demand_tokens_per_second=0,
        weight=1,
        debt=0,
        burst=0,
        gap_tokens=gap_tokens,
        admitted=0,
    )


def owed(world: World) -> int:
    total = Entry.objects.filter(account__entitlement=world.eve).aggregate(total=Sum("amount_millitokens"))["total"]
    return int(total or 0)


def test_accrual_repayment_and_never_more_than_owed(world: World) -> None:
    sample(world, 5, 100.5)
    assert ledger_post(later(6)).accrued == 100_500
    sample(world, 10, -40)
    assert ledger_post(later(11)).repaid == 40_000
    assert owed(world) == 60_500
    sample(world, 15, -500)
    assert ledger_post(later(16)).repaid == 60_500
    assert owed(world) == 0
    assert Account.objects.get(entitlement=world.eve).balance_millitokens == 0


def test_posting_twice_is_posting_once(world: World) -> None:
    sample(world, 5, 10)
    assert ledger_post(later(6)).transfers == 1
    assert ledger_post(later(7)).transfers == 0
    assert owed(world) == 10_000


def test_every_transfer_sums_to_zero_and_balances_follow_their_entries(world: World) -> None:
    for second, gap in ((5, 12.3456), (10, -3.2), (15, 7.0001), (20, -40)):
        sample(world, second, gap)
        ledger_post(later(second + 1))
    sums = Entry.objects.values("transfer").annotate(total=Sum("amount_millitokens"))
    assert sums and all(row["total"] == 0 for row in sums)
    for account in Account.objects.annotate(total=Sum("entries__amount_millitokens")):
        assert account.balance_millitokens == account.total


def test_an_entry_is_never_changed(world: World) -> None:
    sample(world, 5, 10)
    ledger_post(later(6))
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        Entry.objects.update(amount_millitokens=1)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        Entry.objects.all().delete()


def test_samples_of_a_whole_outage_are_posted_afterwards(world: World) -> None:
    for second in range(5, 65, 5):
        sample(world, second, 1.0)
    assert ledger_post(later(66)).accrued == 12_000
    transfer = Transfer.objects.get()
    assert transfer.details["samples"] == 12
    assert transfer.period_end == later(60)
