"""Waiting for a lock that somebody else holds: how long at most, and how to tell that it was in vain.

The bound of every connection is ``LOCK_TIMEOUT`` (``portal.settings``); what may wait even less says so here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure


def contended(error: BaseException | None) -> bool:
    """Whether PostgreSQL gave a transaction up because another one was in its way; the transaction left nothing."""
    return isinstance(getattr(error, "__cause__", None), DeadlockDetected | LockNotAvailable | SerializationFailure)


@contextmanager
def impatient(seconds: float) -> Iterator[None]:
    """A transaction that waits so long for each lock and then gives up (see :func:`contended`)."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{round(seconds * 1000)}ms"])
        yield
