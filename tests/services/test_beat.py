"""The beat table and the tasks: everything has a queue and an expiry; a store that is away is said once."""

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest
import redis
from django.db import OperationalError

from billing import tasks as billing_tasks
from pools import tasks
from pools.services import books
from pools.services.store import hot
from portal.beat import SteadyScheduler
from portal.celery import BEATS, COLLECT, app, collect_seldom, schedule
from portal.embedded.programs import QUEUES
from portal.lib.locks import store_lock
from tests.cast import world_make


def test_every_beat_has_a_task_a_queue_that_is_served_and_an_expiry() -> None:
    app.loader.import_default_modules()
    assert {beat.task for beat in BEATS} <= set(app.tasks)
    assert {beat.queue for beat in BEATS} == set(QUEUES.split(","))
    for entry in schedule(BEATS, 1).values():
        assert entry["options"]["expires"] >= 2


def test_every_shard_gets_its_own_beats() -> None:
    entries = schedule(BEATS, 3)
    assert [entries[f"pools.tasks.tick-{shard}"]["args"] for shard in range(3)] == [(0,), (1,), (2,)]
    assert "billing.tasks.ledger" in entries


def test_a_lock_is_held_by_one_and_given_back() -> None:
    with store_lock(hot(), "x", 1000) as first, store_lock(hot(), "x", 1000) as second:
        assert (first, second) == (True, False)
    with store_lock(hot(), "x", 1000) as third:
        assert third


def test_a_lock_that_ended_is_not_taken_from_its_next_owner() -> None:
    with store_lock(hot(), "x", 1000) as mine:
        assert mine
        hot().set("tp:lock:x", "somebody else")
    assert hot().get("tp:lock:x") == b"somebody else"


def test_every_task_runs() -> None:
    world_make()
    for task in (tasks.tick, tasks.reap, tasks.binding, tasks.scaling):
        task(0)
    tasks.documents()
    tasks.tiers()
    tasks.fairness()
    for task in (billing_tasks.usage, billing_tasks.ledger, billing_tasks.shadow, billing_tasks.partitions):
        task()
    billing_tasks.retention()


def test_a_store_that_is_away_is_said_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with tasks.surviving("test deed"):
                raise redis.ConnectionError("refused")
        with tasks.surviving("test deed"):
            pass
    said = [record.getMessage() for record in caplog.records]
    assert said == ["test deed waits: ConnectionError: refused", "test deed goes on"]


def test_beat_outlives_its_broker_quietly(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = SteadyScheduler(app, lazy=True)
    sent: list[str] = []
    broken = True

    def send(entry: Any, producer: Any = None, advance: bool = True, **options: Any) -> None:
        if broken:
            raise ConnectionRefusedError("no such socket")
        sent.append(entry)

    monkeypatch.setattr(scheduler, "apply_async", send)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            scheduler.apply_entry("entry")  # type: ignore[arg-type]
        broken = False
        scheduler.apply_entry("entry")  # type: ignore[arg-type]
    assert [record.getMessage() for record in caplog.records] == [
        "beats wait for the broker: no such socket",
        "beats are sent again",
    ]
    assert sent == ["entry"]


def test_while_the_books_are_away_only_one_in_a_while_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "TRY_AGAIN_S", 3600.0)
    asked: list[int] = []

    def fail(pool_id: int) -> None:
        asked.append(pool_id)
        raise OperationalError("the server is starting up")

    world_make()
    tasks.each_pool("deed", 0, fail)
    tasks.each_pool("deed", 0, fail)
    assert len(asked) == 1 and books.books_away()
    books.books_answered()
    assert not books.books_away() and books.books_may_be_asked()


def test_a_worker_collects_garbage_seldom() -> None:
    before = gc.get_threshold()
    try:
        collect_seldom()
        assert gc.get_threshold() == COLLECT
    finally:
        gc.set_threshold(*before)
