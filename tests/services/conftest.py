"""Every test here has the database and an empty hot store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from pools.counters.keys import test_clock_key
from pools.counters.store import CounterStore
from pools.models import Pool
from pools.services.books import books_answered
from portal.lib.hot import hot
from tests.cast import NOW


@pytest.fixture(autouse=True)
def _stores(db: None, valkey: object) -> None:
    """A transaction that is rolled back, and a flushed Valkey."""
    books_answered()


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a commit happens at once: the test's own transaction never commits."""

    def at_once(deed: Callable[[], Any], using: str | None = None, robust: bool = False) -> None:
        deed()

    monkeypatch.setattr(transaction, "on_commit", at_once)


class StoreClock:
    """The counters' time in one pool, moved by the test."""

    def __init__(self) -> None:
        self.pool_id = 0
        self.at_ms = int(NOW.timestamp() * 1000)

    def begin(self, pool: Pool) -> None:
        """From now on this pool's counters ask us for the time."""
        self.pool_id = pool.pk
        self.move(0)

    def move(self, seconds: float) -> datetime:
        """Lets time pass; returns the new moment."""
        self.at_ms += round(seconds * 1000)
        hot().set(test_clock_key(self.pool_id), self.at_ms)
        return datetime.fromtimestamp(self.at_ms / 1000, UTC)


@pytest.fixture
def store_clock(monkeypatch: pytest.MonkeyPatch, valkey: object) -> StoreClock:
    """Counters whose time stands still until the test moves it."""
    store = CounterStore(settings.REDIS_URL, test_clock=True)
    monkeypatch.setattr("pools.services.store._counters", lambda url, pid: store)
    return StoreClock()
