"""What the tick keeps of fairness: who used whose reserve, in rows that roll up and never leave the platform."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import DatabaseError, connection

from pools.counters.types import Ask
from pools.mechanism.lending import UNPROMISED
from pools.models import Entitlement, FairnessSample, FairnessSpan
from pools.selectors.live import live_latest, live_picked
from pools.services import fairness as service
from pools.services.fairness_roll import fairness_roll
from pools.services.store import counters
from pools.services.tick import shard_tick
from portal.lib.scope import tenant_scope
from tests.cast import KV_TOKEN, NOW, World, later, world_make
from tests.services.conftest import StoreClock


@pytest.fixture
def world(store_clock: StoreClock) -> World:
    return world_make(begin=store_clock.begin)


def ask(row: Entitlement, request_id: str, tokens: int = 64) -> bool:
    return bool(counters().reserve(Ask(row.pool_id, row.pk, request_id, tokens, tokens * KV_TOKEN)).admitted)


def run(world: World, clock: StoreClock, seconds: int) -> None:
    for _ in range(seconds):
        shard_tick(0, [world.pool.pk], clock.move(1))


def test_spot_work_borrows_what_is_unpromised_first_then_what_is_idle(world: World, store_clock: StoreClock) -> None:
    """16 slots: 6 of Alice and 5 of Eve are promised, 5 are nobody's. Bob fills them and what is lent."""
    taken = sum(ask(world.bob, f"b{number}") for number in range(16))
    assert taken > 5
    run(world, store_clock, 11)
    newest = FairnessSample.objects.filter(pool_id=world.pool.pk).latest("at")
    slots = {(lender, borrower): row[2] for lender, borrower, *row in newest.loans}
    assert slots[UNPROMISED, world.bob.pk] == pytest.approx(5)
    lent = {lender: amount for (lender, _), amount in slots.items() if lender > 0}
    assert set(lent) == {world.alice.pk, world.eve.pk}
    assert sum(lent.values()) == pytest.approx(taken - 5)
    assert newest.lent[2] == pytest.approx(taken - 5) and newest.free[2] == pytest.approx(5)
    assert newest.elapsed_s == pytest.approx(5)
    assert (newest.active, newest.jain) == (0, None), "nobody with a promise asked for anything"


def test_who_asks_within_the_promise_is_satisfied(world: World, store_clock: StoreClock) -> None:
    assert ask(world.eve, "e1", 256)
    run(world, store_clock, 11)
    newest = FairnessSample.objects.filter(pool_id=world.pool.pk).latest("at")
    assert (newest.active, newest.jain, newest.loans) == (1, 1, [])
    assert newest.satisfied is not None and 0 < newest.satisfied <= 1


def test_nothing_is_kept_while_the_books_cannot_be_written(
    world: World, store_clock: StoreClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[bool] = []
    monkeypatch.setattr(service, "books_failed", lambda: failed.append(True))
    monkeypatch.setattr(service, "TABLE", "nowhere")
    run(world, store_clock, 11)
    assert failed, "the tick goes on and says that the books are away"
    assert not FairnessSample.objects.exists()


def test_the_live_message_of_a_debt_step_says_how_fair_it_was(world: World, store_clock: StoreClock) -> None:
    assert ask(world.eve, "e1", 256)
    seen = []
    for _ in range(11):
        run(world, store_clock, 1)
        seen.append(orjson.loads(live_latest([world.pool.pk])[world.pool.pk]))
    steps = [message for message in seen if message["pool"]["fair"] is not None]
    assert 2 <= len(steps) <= 3, "every five seconds"
    fair, newest = steps[-1]["pool"]["fair"], FairnessSample.objects.filter(pool_id=world.pool.pk).latest("at")
    assert (fair["active"], fair["satisfied"], fair["jain"]) == (newest.active, newest.satisfied, newest.jain)
    kept = {row[0]: row[14] for row in steps[-1]["rows"]}
    assert kept[world.eve.pk] == [pytest.approx(fair["satisfied"], abs=1e-4)] and kept[world.bob.pk] == []
    assert all(row[14] == [] for message in seen if message["pool"]["fair"] is None for row in message["rows"])
    at_ms, rows = live_picked(orjson.dumps(steps[-1]), [world.eve.pk, world.bob.pk])
    assert at_ms == steps[-1]["at"] and [row[0] for row in rows] == [world.eve.pk, world.bob.pk]


def sample(world: World, second: float, **changes: Any) -> None:
    usual: dict[str, Any] = {
        "elapsed_s": 5,
        "active": 2,
        "satisfied": 0.5,
        "jain": 0.8,
        "dispersion": 0.1,
        "lent": [1, 1, 1],
        "free": [0, 0, 0],
        "beyond": [0, 0, 0],
        "loans": [[world.alice.pk, world.bob.pk, 10, 1000, 1]],
    }
    FairnessSample.objects.create(at=later(second), pool_id=world.pool.pk, **{**usual, **changes})


def test_spans_add_loans_up_and_average_measures_by_time(world: World) -> None:
    sample(world, 0)
    sample(world, 5, elapsed_s=15, satisfied=0.9, jain=1.0, lent=[5, 5, 5])
    sample(world, 20, active=0, satisfied=None, jain=None, dispersion=None, loans=[])
    sample(world, 301, satisfied=0.1)
    assert fairness_roll(later(400)) == 3
    first, second = FairnessSpan.objects.filter(span_s=300).order_by("at")
    assert (first.at, first.elapsed_s) == (NOW, 25)
    assert first.satisfied == pytest.approx((0.5 * 5 + 0.9 * 15) / 20)
    assert first.satisfied_least == 0.5
    assert first.lent[2] == pytest.approx((1 * 5 + 5 * 15 + 1 * 5) / 25)
    assert first.loans == [[world.alice.pk, world.bob.pk, 200, 20_000, 20]]
    (hour,) = FairnessSpan.objects.filter(span_s=3600)
    assert hour.loans == [[world.alice.pk, world.bob.pk, 250, 25_000, 25]]
    assert hour.satisfied_least == 0.1
    assert second.at == later(300)


def test_a_span_that_was_not_over_is_made_anew(world: World) -> None:
    sample(world, 0)
    fairness_roll(later(10))
    sample(world, 5)
    assert fairness_roll(later(30)) == 2
    assert FairnessSpan.objects.get(span_s=300).loans[0][2:] == [100, 10_000, 10]
    assert FairnessSpan.objects.get(span_s=3600).loans[0][2:] == [100, 10_000, 10]


def test_one_run_catches_up_a_bounded_time(world: World) -> None:
    for number in range(40):
        sample(world, 900 * number)
    moment = NOW + timedelta(hours=21)
    assert fairness_roll(moment) > 36
    assert FairnessSpan.objects.filter(span_s=300).count() == 36
    fairness_roll(moment)
    assert FairnessSpan.objects.filter(span_s=300).count() == 40
    assert FairnessSpan.objects.filter(span_s=3600).count() == 10
    assert fairness_roll(moment) == 2, "a gap of hours is skipped in one step, the last spans are refreshed"


def test_a_tenant_cannot_read_who_lent_to_whom(world: World) -> None:
    for table in ("pools_fairnesssample", "pools_fairnessspan"):
        with pytest.raises(DatabaseError, match="permission denied"), tenant_scope(world.bob.tenant_id):  # noqa: SIM117
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT * FROM {table}")


def test_amounts_that_are_nothing_are_not_written() -> None:
    assert service.loans_json(service.loans_read(b"[[1,2,0.00001,0.2,0.00001],[-2,3,1,0,0]]")) == "[[-2,3,1,0,0]]"
