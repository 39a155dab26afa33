"""Reads: what each viewer sees, and with how many queries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from billing.selectors.usage import debt_list, transfer_list, usage_by_key
from billing.services.ledger import ledger_post
from billing.services.usage import usage_drain
from pools.counters.types import Ask, Settlement
from pools.models import EntitlementSample, PoolSample
from pools.selectors.history import Range, pool_history, use_history
from pools.selectors.live import LiveMessage, LivePool, live_head, live_picked
from pools.selectors.pools import decision_list, endpoint_list, entitlement_list, pool_list, pool_snapshot
from pools.services.scaling import scaling_reconcile
from pools.services.store import counters
from pools.services.tick import shard_tick
from portal.accounts.choices import PlatformRole
from portal.accounts.models import Membership, User
from portal.accounts.viewer import PLATFORM, Viewer, viewer_for
from portal.lib.clock import now
from portal.lib.errors import DomainError
from tests.cast import KV_TOKEN, NOW, World, later, pool_make, tenant_make, world_make


@pytest.fixture
def world() -> World:
    made = world_make()
    for second in range(0, 60, 5):
        for row, gap in ((made.alice, 0.0), (made.eve, 2.0)):
            EntitlementSample.objects.create(
                at=later(second),
                entitlement_id=row.pk,
                pool_id=made.pool.pk,
                tenant_id=row.tenant_id,
                elapsed_s=5,
                use_tokens_per_second=10 + second,
                use_kv_bytes=1000,
                use_concurrency=2,
                limit_tokens_per_second=90,
                limit_kv_bytes=2000,
                limit_concurrency=6,
                demand_tokens_per_second=20,
                weight=1,
                debt=0.1,
                burst=0,
                gap_tokens=gap,
                admitted=3,
                refused={"concurrency": 2} if second == 30 else {},
            )
        PoolSample.objects.create(
            at=later(second),
            pool_id=made.pool.pk,
            capacity=[240, 1e9, 16],
            promised=[165, 1e8, 11],
            use=[20, 2000, 4],
            hold=[0, 0, 0],
            ready=1,
            pending=0,
            wanted=1,
            contended=False,
            lag_ms=second,
            refused={},
        )
    return made


def test_a_minute_of_samples_in_four_points(world: World, django_assert_num_queries: Any) -> None:
    span = Range(NOW, later(60), points=4)
    with django_assert_num_queries(2):
        points = use_history(PLATFORM, world.pool.pk, span)
    mine = [point for point in points if point.entitlement_id == world.alice.pk]
    assert [(point.use[0], point.admitted) for point in mine] == [(15, 9), (30, 9), (45, 9), (60, 9)]
    assert [point.refused for point in mine] == [{}, {}, {"concurrency": 2}, {}]
    with django_assert_num_queries(1):
        steps = pool_history(world.pool.pk, span)
    assert (steps[0].capacity, steps[0].lag_ms) == ((240, 1e9, 16), 10)


def test_a_range_is_checked() -> None:
    with pytest.raises(DomainError, match="ends after it starts"):
        Range(NOW, NOW)


def test_a_tenant_sees_its_own_history_only(world: World) -> None:
    points = use_history(Viewer(None, world.eve.tenant_id), world.pool.pk, Range(NOW, later(60)))
    assert {point.tenant_id for point in points} == {world.eve.tenant_id}


def test_pools_as_the_platform_sees_them(world: World, django_assert_num_queries: Any) -> None:
    pool_make("empty")
    shard_tick(0, [world.pool.pk], NOW)
    with django_assert_num_queries(2):
        found = {one.pool.slug: one for one in pool_list(PLATFORM)}
    assert (found["chat-8b"].entitlements, found["chat-8b"].ready) == (3, 1)
    assert found["chat-8b"].live is not None and found["chat-8b"].live["capacity"][2] == 16
    assert found["empty"].live is None


def test_a_tenant_sees_the_pools_it_is_in_without_their_numbers(world: World) -> None:
    shard_tick(0, [world.pool.pk], NOW)
    eyes = Viewer(None, world.bob.tenant_id)
    (only,) = pool_list(eyes)
    assert (only.entitlements, only.ready, only.live) == (1, 1, None)
    with pytest.raises(DomainError, match="no pool"):
        pool_snapshot(Viewer(None, tenant_make("mallory").pk), "chat-8b")


def test_entitlements_by_viewer(world: World, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        rows = entitlement_list(PLATFORM, pool_slug="chat-8b")
        assert [row.tenant.slug for row in rows] == ["alice", "bob", "eve"]
        assert all(row.tier.current for row in rows)
    assert [row.pk for row in entitlement_list(Viewer(None, world.bob.tenant_id))] == [world.bob.pk]


def test_endpoints_and_decisions(world: World, django_assert_num_queries: Any) -> None:
    scaling_reconcile(world.pool.pk, NOW)
    with django_assert_num_queries(2):
        assert [row.name for row in endpoint_list(world.pool.pk)] == ["chat-8b-1"]
        assert [row.code for row in decision_list(world.pool.pk)] == ["hold"]
    assert decision_list(world.pool.pk, before=NOW) == []


def test_usage_and_debt_by_viewer(world: World, django_assert_num_queries: Any) -> None:
    for row in (world.alice, world.bob):
        counters().reserve(Ask(world.pool.pk, row.pk, f"r{row.pk}", 64, 64 * KV_TOKEN))
        counters().settle(Settlement(world.pool.pk, row.pk, f"r{row.pk}", 50, input_tokens=20, output_tokens=30))
    usage_drain(world.pool.pk, now())
    ledger_post(later(61))
    moment = now()
    day, hour, end = moment - timedelta(days=1), moment - timedelta(hours=1), moment + timedelta(hours=1)
    with django_assert_num_queries(1):
        assert [row.charged_tokens for row in usage_by_key(PLATFORM, day, end)] == [50, 50]
    mine = usage_by_key(Viewer(None, world.alice.tenant_id), hour, end)
    assert [(row.tenant_id, row.requests, row.charged_tokens) for row in mine] == [(world.alice.tenant_id, 1, 50)]
    with django_assert_num_queries(1):
        assert [(row.entitlement_id, row.owed_millitokens) for row in debt_list(PLATFORM)] == [(world.eve.pk, 24_000)]
    assert debt_list(Viewer(None, world.bob.tenant_id)) == []
    with django_assert_num_queries(2):
        (posted,) = transfer_list(PLATFORM)
        assert sorted(entry.amount_millitokens for entry in posted.entries.all()) == [-24_000, 24_000]


def test_who_is_looking(world: World) -> None:
    olga = User.objects.create_user("olga@example.org", platform_role=PlatformRole.OPERATOR)
    bob = User.objects.create_user("bob@example.org")
    assert viewer_for(olga) == Viewer(olga.pk, None)
    assert viewer_for(olga, "alice").tenant_id == world.alice.tenant_id
    with pytest.raises(DomainError, match="not a member of any"):
        viewer_for(bob)
    Membership.objects.create(tenant=world.bob.tenant, user=bob)
    assert viewer_for(bob).tenant_id == world.bob.tenant_id
    with pytest.raises(DomainError) as foreign:
        viewer_for(bob, "alice")
    with pytest.raises(DomainError) as unknown:
        viewer_for(bob, "nobody")
    assert foreign.value.code == unknown.value.code == "not_found"


def test_rows_cut_out_of_a_message_are_those_of_the_whole() -> None:
    tail = [0.5, -0.1, 0.0, 6.0, "kv_budget", "bound", [1, 2, 3], [12, 7, 9]]
    rows = [[key, 7, [1.0, 2.0, float(key)], [3, 4, 5], [0, 0, 0], [key, 1, 2], *tail] for key in (1, 12, 123, 1234)]
    pool = LivePool(12, "p", *([[1.0, 12.0, 7.0]] * 5), False, 1, 0, 0, 1, 1.0, "[12,7,[", 3, {"kv_budget": 12}, "x]]")
    text = LiveMessage(99, pool, rows).encoded()
    whole = {row[0]: row for row in orjson.loads(text)["rows"]}
    for wanted in ([12], [1234, 1], [5, 123], []):
        at, found = live_picked(text, wanted)
        assert at == 99 and found == [whole[key] for key in wanted if key in whole]
    assert live_picked(b"{}", [1]) == (0, []) and live_head(b"{}") == {}
    head = live_head(text)
    assert head["at"] == 99 and head["pool"]["sentence"] == "x]]" and "rows" not in head
