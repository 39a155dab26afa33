"""Advice judged hour by hour: once, from minutes, whatever was held by hand meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pools.models import AdviceHour, Endpoint, Pool, PoolMinute, RollupMark, ScalingDecision
from pools.selectors.scaling import advice_by_pool
from pools.services.advice import advice_judge
from tests.cast import NOW, later, pool_make


def minutes(pool_id: int, needed: list[int | None], ready: int = 1) -> None:
    """One row a minute from NOW on."""
    for index, count in enumerate(needed):
        PoolMinute.objects.create(
            at=later(60 * index), pool_id=pool_id, capacity=[0] * 3, promised=[0] * 3, use=[0] * 3, hold=[0] * 3,
            headroom=[0] * 3, ready=ready, ready_least=ready, pending=0, wanted=1, needed=count, contended=False,
            lag_ms=0,
        )  # fmt: skip
    RollupMark.objects.update_or_create(level="minute", defaults={"until": later(60 * len(needed))})


def decided(pool: Pool, second: float, chosen: int, **changes: Any) -> None:
    ScalingDecision.objects.create(
        **{
            "pool": pool, "at": later(second), "ready": 1, "pending": 0, "before": 1, "floor": 1, "need": 1.0,
            "chosen": chosen, "code": "up", "reason": "test", **changes,
        }
    )  # fmt: skip


def test_a_whole_hour_is_judged_once() -> None:
    pool = pool_make()
    decided(pool, -120, 1)
    decided(pool, 1800, 3)
    minutes(pool.pk, [1] * 40 + [3] * 20)
    assert advice_judge(later(3600)) == 1
    row = AdviceHour.objects.get()
    # one start is 60 s: the advice of minute 30 counts from minute 31 on
    assert (row.right, row.few, row.many) == (51, 0, 9)
    assert (row.ran_right, row.ran_few, row.ran_many) == (40, 20, 0)
    assert advice_judge(later(3700)) == 0
    (found,) = advice_by_pool("24h", later(3700))
    assert found.verdict.hit_rate == 51 / 60 and found.gain is not None and found.gain > 0


def test_an_hour_that_is_not_over_waits() -> None:
    pool = pool_make()
    decided(pool, -60, 1)
    minutes(pool.pk, [1] * 30)
    assert advice_judge(later(1800)) == 0
    assert advice_judge(NOW - timedelta(days=1)) == 0


def test_what_the_rules_advised_counts_while_a_number_is_held_by_hand() -> None:
    pool = pool_make()
    decided(pool, -120, 4, code="manual", inputs={"target": 1})
    minutes(pool.pk, [1] * 60)
    advice_judge(later(3600))
    assert AdviceHour.objects.get().right == 60


def test_unknown_minutes_sums_and_pools_that_are_gone_are_left_out() -> None:
    pool = pool_make()
    decided(pool, -120, 1)
    minutes(pool.pk, [None] * 60)
    PoolMinute.objects.filter(pool_id=pool.pk).update(needed=None)
    minutes_of_sums = PoolMinute.objects.first()
    assert minutes_of_sums is not None
    PoolMinute.objects.create(
        **{
            **{f.attname: getattr(minutes_of_sums, f.attname) for f in PoolMinute._meta.fields if f.name != "pk"},
            "pool_id": 0,
            "needed": 3,
        }
    )
    assert advice_judge(later(3600)) == 0
    assert not AdviceHour.objects.exists()


def test_a_pool_that_starts_slowly_is_judged_by_earlier_advice() -> None:
    pool = pool_make()
    Endpoint.objects.create(pool=pool, name="slow", state="ready", created_at=NOW, ready_at=later(600))
    decided(pool, -1200, 1)
    decided(pool, 0, 2)
    minutes(pool.pk, [2] * 60)
    advice_judge(later(3600))
    assert AdviceHour.objects.get().few == 10, "the second replica came ten minutes later"
