"""Scaling decisions: written when they say something new, applied when the pool is automatic."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from pools.models import Endpoint, Pool, ScalingDecision
from pools.selectors.live import live_key
from pools.services.overrides import pool_set_replicas
from pools.services.scaling import scaling_reconcile
from portal.lib.hot import hot
from tests.cast import NOW, OLGA, later, pool_make, promise, replica_ready, slots, tenant_make, tier_make


def show(pool: Pool, at: datetime, demand: dict[int, tuple[float, float, float]]) -> None:
    """The tick's live figures, as far as scaling reads them."""
    rows: list[list[Any]] = []
    for entitlement_id, wanted in demand.items():
        row: list[Any] = [entitlement_id, 0, *[[0, 0, 0]] * 4, 1.0, 0.0, 0.0, 0.0, "", "bound", [0, 0, 0], list(wanted)]
        rows.append(row)
    hot().set(live_key(pool.pk), orjson.dumps({"v": 1, "at": int(at.timestamp() * 1000), "pool": {}, "rows": rows}))


def wanted(pool: Pool) -> int:
    return Pool.objects.values_list("wanted_replicas", flat=True).get(pk=pool.pk)


def test_promises_above_what_is_there_scale_up_at_once() -> None:
    pool = pool_make()
    replica_ready(pool)
    alice = promise(pool, tenant_make("alice"), tier_make("guaranteed"), slots(24))
    show(pool, NOW, {alice.pk: (0, 0, 0)})
    row = scaling_reconcile(pool.pk, NOW)
    assert row is not None
    assert (row.code, row.before, row.chosen, row.floor, row.applied) == ("up", 1, 2, 2, True)
    assert wanted(pool) == 2
    assert "promises need 2" in row.reason


def test_unknown_figures_hold_and_say_so() -> None:
    pool = pool_make()
    replica_ready(pool)
    row = scaling_reconcile(pool.pk, NOW)
    assert row is not None and row.code == "hold" and "unknown" in row.reason
    assert wanted(pool) == 1
    show(pool, later(-60), {})
    assert scaling_reconcile(pool.pk, later(5)) is None


def test_demand_must_stand_for_thirty_seconds_and_spot_buys_nothing() -> None:
    pool = pool_make()
    replica_ready(pool)
    eve = promise(pool, tenant_make("eve"), tier_make("elastic"), slots(10))
    rows = []
    for second in range(0, 45, 5):
        show(pool, later(second), {eve.pk: (300.0, slots(20).kv_bytes, 20.0)})
        rows.append(scaling_reconcile(pool.pk, later(second)))
    ups = [row for row in rows if row is not None and row.code == "up"]
    assert [(row.at, row.chosen) for row in ups] == [(later(30), 2)]
    assert all(row.profile_id == pool.current_profile_id for row in rows if row is not None)


def test_the_same_decision_is_not_written_every_five_seconds() -> None:
    pool = pool_make()
    replica_ready(pool)
    for second in range(0, 330, 5):
        show(pool, later(second), {})
        scaling_reconcile(pool.pk, later(second))
    moments = list(ScalingDecision.objects.order_by("at").values_list("at", flat=True))
    assert moments == [NOW, later(300)]


def test_advisory_pools_record_and_do_not_move() -> None:
    pool = pool_make(scaling_mode="advisory")
    replica_ready(pool)
    alice = promise(pool, tenant_make("alice"), tier_make("guaranteed"), slots(24))
    show(pool, NOW, {alice.pk: (0, 0, 0)})
    row = scaling_reconcile(pool.pk, NOW)
    assert row is not None
    assert (row.chosen, row.applied) == (2, False)
    assert row.reason.startswith("Advice only")
    assert wanted(pool) == 1


def test_a_manual_number_holds_until_its_end() -> None:
    pool = pool_make()
    replica_ready(pool)
    show(pool, NOW, {})
    pool_set_replicas(actor=OLGA, now=NOW, pool_id=pool.pk, replicas=3, lasts=timedelta(minutes=1), reason="load test")
    row = scaling_reconcile(pool.pk, NOW)
    assert row is not None and (row.code, row.chosen) == ("manual", 3)
    assert wanted(pool) == 3
    show(pool, later(61), {})
    scaling_reconcile(pool.pk, later(61))
    pool.refresh_from_db()
    assert pool.manual_replicas is None


def test_the_accelerator_ceiling_fails_closed(settings: Any) -> None:
    settings.ACCELERATOR_CEILING = 1
    pool = pool_make()
    replica_ready(pool)
    alice = promise(pool, tenant_make("alice"), tier_make("guaranteed"), slots(24))
    show(pool, NOW, {alice.pk: (0, 0, 0)})
    row = scaling_reconcile(pool.pk, NOW)
    assert row is not None and "ceiling is reached" in row.reason
    assert wanted(pool) == 1


def test_a_clock_that_was_set_back_starts_the_windows_anew() -> None:
    pool = pool_make()
    replica_ready(pool)
    show(pool, later(100), {})
    scaling_reconcile(pool.pk, later(100))
    show(pool, later(50), {})
    scaling_reconcile(pool.pk, later(50))


def test_decisions_are_append_only() -> None:
    pool = pool_make()
    Endpoint.objects.filter(pool=pool).delete()
    row = scaling_reconcile(pool.pk, NOW)
    assert row is not None
    from django.db import DatabaseError, transaction

    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        ScalingDecision.objects.filter(pk=row.pk).delete()
