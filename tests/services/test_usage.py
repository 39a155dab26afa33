"""Usage: every settled request is in the books once, and its sums with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing.models import UsageEvent as Row
from billing.models import UsageHour, UsageMinute
from billing.services.partitions import TABLES, partition_name, partitions_make
from billing.services.usage import events_store, usage_drain
from pools.counters.types import Ask, Settlement
from pools.models import Pool
from pools.services.store import counters
from portal.accounts.models import ApiKey
from portal.lib.clock import now
from portal.lib.scope import tenant_scope
from tests.cast import KV_TOKEN, NOW, World, world_make


@pytest.fixture
def world() -> World:
    return world_make()


def finish(world: World, request_id: str, **figures: Any) -> None:
    row = figures.pop("row", world.alice)
    admitted = counters().reserve(
        Ask(world.pool.pk, row.pk, request_id, 128, 128 * KV_TOKEN, key_id=figures.pop("key_id", 0))
    )
    assert admitted.admitted
    usual = {"actual_tokens": 100, "input_tokens": 60, "output_tokens": 40, "prompt_bytes": 240, "ttft_ms": 90}
    counters().settle(Settlement(world.pool.pk, row.pk, request_id, **{**usual, "duration_ms": 1500, **figures}))


def test_a_settled_request_is_stored_with_its_sums(world: World) -> None:
    for number in range(5):
        finish(world, f"r{number}")
    drained = usage_drain(world.pool.pk, now())
    assert (drained.stored, drained.known) == (5, 0)
    row = Row.objects.first()
    assert row is not None
    assert (row.tenant_id, row.charged_tokens, row.input_tokens, row.outcome) == (
        world.alice.tenant_id,
        100,
        60,
        "completed",
    )
    minutes, hours = list(UsageMinute.objects.all()), list(UsageHour.objects.all())
    assert sum(one.requests for one in minutes) == sum(one.requests for one in hours) == 5
    assert sum(one.charged_tokens for one in hours) == 500
    assert sum(one.ttft_ms_sum for one in hours) == 450
    assert counters().usage_backlog(world.pool.pk) == 0


def test_a_redelivered_event_counts_once(world: World) -> None:
    finish(world, "r1")
    events = counters().read_usage(world.pool.pk, "billing", 100)
    assert events_store(events, NOW).stored == 1
    # the worker died before it acknowledged: the same events come again
    again = counters().read_usage(world.pool.pk, "billing", 100)
    assert [event.request_id for event in again] == ["r1"]
    drained = usage_drain(world.pool.pk, NOW)
    assert (drained.stored, drained.known) == (0, 1)
    assert Row.objects.count() == 1
    assert UsageHour.objects.get().requests == 1


def test_failed_requests_are_told_apart(world: World) -> None:
    finish(world, "good")
    finish(world, "bad", outcome=2)
    usage_drain(world.pool.pk, NOW)
    hour = UsageHour.objects.get()
    assert (hour.requests, hour.failed) == (2, 1)


def test_the_pool_learns_its_bytes_per_token(world: World) -> None:
    Pool.objects.filter(pk=world.pool.pk).update(bytes_per_token=4.0)
    finish(world, "long", input_tokens=100, prompt_bytes=300)
    usage_drain(world.pool.pk, NOW)
    assert Pool.objects.get(pk=world.pool.pk).bytes_per_token == pytest.approx(3.9)


def test_last_use_of_a_key_is_written_at_most_once_a_minute(world: World) -> None:
    key = ApiKey.objects.create(tenant=world.alice.tenant, name="k", prefix="tp", digest="d")
    finish(world, "r1", key_id=key.pk)
    usage_drain(world.pool.pk, NOW)
    key.refresh_from_db()
    first = key.last_used_at
    assert first is not None
    finish(world, "r2", key_id=key.pk)
    usage_drain(world.pool.pk, NOW)
    key.refresh_from_db()
    assert key.last_used_at == first


def test_a_tenant_reads_only_its_own_usage(world: World) -> None:
    finish(world, "mine")
    finish(world, "theirs", row=world.bob)
    usage_drain(world.pool.pk, NOW)
    with tenant_scope(world.bob.tenant_id):
        assert list(Row.objects.values_list("request_id", flat=True)) == ["theirs"]
        assert UsageHour.objects.get().tenant_id == world.bob.tenant_id


def test_partitions_are_made_ahead_and_take_rows_along_from_the_default_one(world: World) -> None:
    finish(world, "before")
    usage_drain(world.pool.pk, NOW)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SELECT count(*) FROM billing_usageevent_default")
        assert cursor.fetchone()[0] == 1
    moment = now()
    made = partitions_make(moment)
    assert len(made) == len(TABLES) * 4
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing_usageevent_default")
        assert cursor.fetchone()[0] == 0
    assert Row.objects.count() == 1
    assert partitions_make(moment) == []


def test_partition_names_of_days_and_months() -> None:
    start = datetime(2026, 1, 31, tzinfo=UTC)
    assert [partition_name(table, start) for table in TABLES[:1] + TABLES[-1:]] == [
        "pools_entitlementsample_20260131",
        "billing_usagehour_202601",
    ]


def test_a_transfer_that_does_not_sum_to_zero_is_refused_by_the_database(world: World) -> None:
    from billing.models import Account, Entry, Transfer

    account = Account.objects.create(kind="pool_obligation", pool=world.pool)
    with pytest.raises(DatabaseError, match="sum to"), transaction.atomic():
        transfer = Transfer.objects.create(
            pool=world.pool,
            tenant=world.alice.tenant,
            kind="accrual",
            at=NOW,
            period_start=NOW,
            period_end=NOW,
            idempotency_key="lonely",
        )
        Entry.objects.create(transfer=transfer, account=account, amount_millitokens=5)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
