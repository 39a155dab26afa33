"""Roll-ups of samples: minutes and hours agree with the samples, however often and however late they are made."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from billing.services.partitions import partitions_drop, partitions_make
from pools.models import (
    EntitlementHour,
    EntitlementMinute,
    EntitlementSample,
    PoolHour,
    PoolMinute,
    PoolSample,
    RollupMark,
)
from pools.selectors.rollups import headroom_sql, history_table, whole_step_s
from pools.services import samples
from pools.services.rollups import rollups_done, rollups_make
from pools.services.sample_rows import HEADER, TRAILER
from portal.dashboards import reads
from portal.dashboards.series import range_of
from portal.lib.hot import hot
from portal.lib.scope import tenant_scope
from tests.cast import NOW, World, later, world_make


@pytest.fixture
def world() -> World:
    return world_make()


def sample(world: World, at: datetime, *, use: float = 60.0, refused: dict[str, int] | None = None) -> None:
    """One debt tick in which Eve alone does something."""
    EntitlementSample.objects.create(
        at=at,
        entitlement_id=world.eve.pk,
        pool_id=world.pool.pk,
        tenant_id=world.eve.tenant_id,
        elapsed_s=5,
        use_tokens_per_second=use,
        use_kv_bytes=1000,
        use_concurrency=2,
        limit_tokens_per_second=90,
        limit_kv_bytes=2000,
        limit_concurrency=6,
        demand_tokens_per_second=use,
        weight=1,
        debt=0.1,
        burst=0,
        gap_tokens=2,
        admitted=3,
        refused=refused or {},
    )
    pool_sample(world, at, use=use, refused=refused)


def pool_sample(world: World, at: datetime, *, refused: dict[str, int] | None = None, **changes: Any) -> None:
    """The pool's part."""
    use = changes.pop("use", 60.0)
    PoolSample.objects.create(
        **{
            "at": at,
            "pool_id": world.pool.pk,
            "capacity": [240, 1e9, 16],
            "promised": [165, 1e8, 11],
            "use": [use, 2000, 4],
            "hold": [40, 0, 2],
            "ready": 1,
            "pending": 0,
            "wanted": 1,
            "needed": 1,
            "contended": False,
            "lag_ms": 3,
            "refused": refused or {},
            **changes,
        }
    )


def test_a_minute_is_the_mean_of_its_samples_and_the_sum_of_its_counts(world: World) -> None:
    for second in range(0, 120, 5):
        refused = {"concurrency": 2, "pool_full": 1} if second in {10, 20} else None
        sample(world, later(second), use=second, refused=refused)
    assert rollups_make(later(180)) > 0
    first, second_minute = PoolMinute.objects.order_by("at")
    assert (first.at, first.use[0], first.refused) == (NOW, 27.5, {"concurrency": 4, "pool_full": 2})
    assert (first.headroom[0], first.ready, first.ready_least, first.needed) == (240 - 40 - 55, 1, 1, 1)
    assert (second_minute.use[0], second_minute.refused) == (87.5, {})
    eve = EntitlementMinute.objects.get(at=NOW)
    assert (eve.use_tokens_per_second, eve.admitted, eve.gap_tokens, eve.elapsed_s) == (27.5, 36, 24, 60)
    assert eve.refused == {"concurrency": 4, "pool_full": 2}


def test_the_present_minute_waits_and_nothing_is_made_twice(world: World) -> None:
    for second in range(0, 90, 5):
        sample(world, later(second))
    rollups_make(later(70))
    assert not PoolMinute.objects.exists(), "its last tick may still be on its way"
    rollups_make(later(76))
    assert PoolMinute.objects.count() == 1
    assert rollups_make(later(100)) == 0
    assert PoolMinute.objects.count() == 1


def test_an_hour_is_refreshed_until_it_is_over(world: World) -> None:
    for minute in range(65):
        sample(world, later(60 * minute), use=minute)
    rollups_make(later(31 * 60))
    assert [row.use[0] for row in PoolHour.objects.all()] == [14.5], "thirty minutes so far"
    rollups_make(later(66 * 60))
    assert [row.use[0] for row in PoolHour.objects.order_by("at")] == [29.5, 62.0]
    assert EntitlementHour.objects.get(at=NOW).admitted == 180
    assert PoolHour.objects.get(at=NOW).headroom[0] == 240 - 40 - 59


def test_a_late_sample_is_rolled_up_after_all(world: World) -> None:
    sample(world, later(0))
    sample(world, later(300))
    rollups_make(later(400))
    late = [
        later(125).isoformat(),
        world.pool.pk,
        [240, 1, 16],
        [0] * 3,
        [9, 0, 0],
        [0] * 3,
        1,
        0,
        1,
        None,
        False,
        1,
        "{}",
    ]
    hot().rpush(samples.BACKLOG, samples._batch(HEADER + TRAILER, [late]))
    assert samples.backlog_store() == 1
    rollups_make(later(400))
    assert PoolMinute.objects.get(at=later(120)).use[0] == 9
    assert PoolMinute.objects.count() == 3


def test_bounded_work_goes_on_the_next_time(world: World) -> None:
    for minute in range(0, 40, 4):
        sample(world, later(60 * minute))
    assert rollups_make(later(3600), longest_s=0) == 0
    rollups_make(later(3600))
    assert PoolMinute.objects.count() == 10


@pytest.mark.parametrize(
    ("name", "table"), [("15m", "sample"), ("1h", "sample"), ("24h", "minute"), ("7d", "hour"), ("30d", "hour")]
)
def test_each_range_reads_the_coarsest_table(name: str, table: str) -> None:
    assert history_table("pool", range_of(name).step_s) == f"pools_pool{table}"


def test_steps_never_split_a_row() -> None:
    assert [whole_step_s(s) for s in (5, 45, 61, 365, 3601)] == [5, 45, 120, 420, 7200]
    assert "headroom[1]" in headroom_sql(60, 0) and "capacity[3]" in headroom_sql(5, 2)


def test_charts_of_every_range_show_the_same_use(world: World) -> None:
    for minute in range(60):
        for second in range(0, 60, 20):
            sample(world, later(60 * minute + second), refused={"concurrency": 1})
    moment = later(3600 + 20)
    rollups_make(moment)
    for name in ("1h", "24h", "7d", "30d"):
        span = range_of(name)
        points = reads.pool_history(world.pool.pk, span, moment)
        assert points and {point.use[0] for point in points} == {60.0}, name
        assert {point.headroom[0] for point in points} == {140.0}, name
        tenants = reads.tenant_history(world.pool.pk, span, moment, 0, [world.eve.pk])
        assert {(tenant, use) for _, tenant, use in tenants} == {(world.eve.tenant_id, 60.0)}, name
        assert sum(count for _, _, count in reads.pool_refusals(world.pool.pk, span, moment)) >= 178, name


def test_old_history_goes_and_young_history_stays(world: World, settings: Any) -> None:
    old, young = NOW - timedelta(days=9), NOW - timedelta(hours=1)
    partitions_make(old, ahead=0)
    partitions_make(NOW, ahead=0)
    sample(world, old)
    sample(world, old + timedelta(days=2))  # lands in the default partition
    sample(world, young)
    assert not rollups_done(NOW)
    rollups_make(NOW)
    RollupMark.objects.update(until=NOW)
    assert rollups_done(NOW)
    settings.SAMPLE_DAYS = 3
    dropped = partitions_drop(NOW)
    assert {f"pools_{kind}sample_{old:%Y%m%d}" for kind in ("entitlement", "pool")} <= set(dropped)
    assert all(name.endswith(f"_{old:%Y%m%d}") for name in dropped), "hours of this month stay"
    assert list(PoolSample.objects.values_list("at", flat=True)) == [young]
    assert list(EntitlementSample.objects.values_list("at", flat=True)) == [young]
    assert partitions_drop(NOW) == []


def test_a_tenant_sees_its_own_rollups_only(world: World) -> None:
    sample(world, NOW)
    rollups_make(later(400))
    for tenant_id, count in ((world.eve.tenant_id, 1), (world.alice.tenant_id, 0)):
        with tenant_scope(tenant_id), connection.cursor() as cursor:
            for table in ("pools_entitlementminute", "pools_entitlementhour"):
                cursor.execute(f"SELECT count(*) FROM {table}")
                assert cursor.fetchone()[0] == count
