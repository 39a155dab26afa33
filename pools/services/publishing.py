"""When what a deed changed reaches the hot store: right after its commit, or gathered: once a pool for many deeds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime

from django.db import transaction

from pools.services.documents import pool_publish

Touched = dict[int, set[int]]
_gathering: ContextVar[Touched | None] = ContextVar("gathering", default=None)


def publish_soon(pool_id: int, tenant_id: int, now: datetime) -> None:
    """Publishes a pool and the keys of a tenant after the commit, unless a caller gathers (:func:`gathered`).

    A store that cannot be reached then is repaired by ``documents_refresh``; the deed itself stands.
    """
    touched = _gathering.get()
    if touched is not None:
        touched.setdefault(pool_id, set()).add(tenant_id)
    else:
        transaction.on_commit(lambda: pool_publish(pool_id, now, keys_of=[tenant_id]), robust=True)


@contextmanager
def gathered() -> Iterator[Touched]:
    """Inside, deeds only note what they touched: pool id → tenant ids. The caller publishes it with :func:`publish_all`
    and has to remember, across a crash, that it still must."""
    touched: Touched = {}
    token = _gathering.set(touched)
    try:
        yield touched
    finally:
        _gathering.reset(token)


def publish_all(touched: Touched, now: datetime) -> None:
    """One publication per pool; empties ``touched`` as it goes. Errors of the store pass through."""
    for pool_id in sorted(touched):
        pool_publish(pool_id, now, keys_of=touched[pool_id])
        del touched[pool_id]
