"""The binding reconciler: capacity comes and goes, promises follow."""

from __future__ import annotations

from pools.choices import EndpointState
from pools.counters.types import Ask
from pools.models import Endpoint, Entitlement
from pools.services.binding import binding_reconcile
from pools.services.configuring import counters_configure
from pools.services.store import counters
from portal.audit.models import AuditRecord
from tests.cast import (
    KV_TOKEN,
    NOW,
    later,
    leftover,
    pool_make,
    promise,
    replica_ready,
    slots,
    tenant_make,
    tier_make,
    world_make,
)


def state_of(row: Entitlement) -> str:
    row.refresh_from_db()
    return row.state


def test_a_pending_entitlement_is_bound_after_a_replica_becomes_ready() -> None:
    pool = pool_make()
    alice = promise(pool, tenant_make("alice"), tier_make("guaranteed"), slots(6))
    counters_configure(pool.pk, NOW)
    binding_reconcile(pool.pk, NOW)
    assert state_of(alice) == "pending"
    replica_ready(pool)
    counters_configure(pool.pk, NOW)
    moves = binding_reconcile(pool.pk, later(2))
    assert [move.after for move in moves] == ["draining", "bound"]
    assert alice.refresh_from_db() is None and alice.bound_at == later(2)


def test_running_it_again_changes_nothing() -> None:
    world = world_make()
    records = AuditRecord.objects.count()
    assert binding_reconcile(world.pool.pk, later(1)) == []
    assert AuditRecord.objects.count() == records


def test_a_lease_drains_until_the_work_of_others_has_ended() -> None:
    pool = pool_make(max_replicas=1)
    replica_ready(pool)
    bob = leftover(pool, tenant_make("bob"), tier_make("spot"), slots(16))
    counters_configure(pool.pk, NOW)
    binding_reconcile(pool.pk, NOW)
    asks = [Ask(pool.pk, bob.pk, f"r{number}", 64, 64 * KV_TOKEN) for number in range(12)]
    assert all(counters().reserve(ask).admitted for ask in asks)
    alice = promise(pool, tenant_make("alice"), tier_make("guaranteed"), slots(6))
    binding_reconcile(pool.pk, later(1))
    assert state_of(alice) == "draining"
    assert not counters().reserve(Ask(pool.pk, bob.pk, "one-more", 64, 64 * KV_TOKEN)).admitted
    from pools.mechanism.settlement import Settlement

    for ask in asks[:2]:
        counters().settle(Settlement(pool.pk, bob.pk, ask.request_id, 64))
    binding_reconcile(pool.pk, later(2))
    assert state_of(alice) == "bound"


def test_windows_open_and_close() -> None:
    pool = pool_make()
    replica_ready(pool)
    alice = promise(
        pool, tenant_make("alice"), tier_make("guaranteed"), slots(6), valid_from=later(60), valid_until=later(120)
    )
    counters_configure(pool.pk, NOW)
    binding_reconcile(pool.pk, later(59))
    assert state_of(alice) == "pending"
    binding_reconcile(pool.pk, later(60))
    assert state_of(alice) == "bound"
    binding_reconcile(pool.pk, later(120))
    assert state_of(alice) == "expired"


def test_lost_capacity_degrades_the_newest_lease_and_gives_it_back() -> None:
    pool = pool_make(max_replicas=2)
    replica_ready(pool, 1)
    second = replica_ready(pool, 2)
    tier = tier_make("guaranteed")
    first = promise(pool, tenant_make("alice"), tier, slots(12))
    counters_configure(pool.pk, NOW)
    binding_reconcile(pool.pk, NOW)
    newer = promise(pool, tenant_make("carol"), tier, slots(12))
    binding_reconcile(pool.pk, later(5))
    assert (state_of(first), state_of(newer)) == ("bound", "bound")
    Endpoint.objects.filter(pk=second.pk).update(state=EndpointState.FAILED.value)
    binding_reconcile(pool.pk, later(10))
    assert (state_of(first), state_of(newer)) == ("bound", "degraded")
    assert not counters().reserve(Ask(pool.pk, newer.pk, "r", 64, 64 * KV_TOKEN)).admitted
    Endpoint.objects.filter(pk=second.pk).update(state=EndpointState.READY.value)
    binding_reconcile(pool.pk, later(20))
    assert (state_of(first), state_of(newer)) == ("bound", "bound")


def test_the_counters_learn_the_new_state_at_once() -> None:
    world = world_make()
    assert counters().reserve(Ask(world.pool.pk, world.alice.pk, "a", 64, 64 * KV_TOKEN)).admitted
    Endpoint.objects.filter(pool=world.pool).update(state=EndpointState.STOPPED.value)
    binding_reconcile(world.pool.pk, later(1))
    refused = counters().reserve(Ask(world.pool.pk, world.alice.pk, "b", 64, 64 * KV_TOKEN))
    assert not refused.admitted
