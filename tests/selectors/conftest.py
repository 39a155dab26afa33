"""Every test here has the database and an empty hot store."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _stores(db: None, valkey: object) -> None:
    """A transaction that is rolled back, and a flushed Valkey."""
