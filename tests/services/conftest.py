"""Every test here has the database and an empty hot store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction


@pytest.fixture(autouse=True)
def _stores(db: None, valkey: object) -> None:
    """A transaction that is rolled back, and a flushed Valkey."""


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a commit happens at once: the test's own transaction never commits."""

    def at_once(deed: Callable[[], Any], using: str | None = None, robust: bool = False) -> None:
        deed()

    monkeypatch.setattr(transaction, "on_commit", at_once)
