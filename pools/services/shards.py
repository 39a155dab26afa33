"""Which pools a shard has. The list is remembered for a moment, so that a tick needs the books only now and then."""

from __future__ import annotations

import time

from django.conf import settings
from django.db import Error as DatabaseError

from pools.models import Pool
from pools.services.books import books_away, books_failed

REMEMBERED_S = 5.0
_known: dict[int, tuple[float, list[int]]] = {}


def shard_pools(shard: int) -> list[int]:
    """Ids of the living pools of a shard, ascending; the last known ones while the books cannot be read."""
    known = _known.get(shard)
    if known is not None and (books_away() or time.monotonic() - known[0] < REMEMBERED_S):
        return known[1]
    try:
        ids = list(Pool.objects.filter(archived_at__isnull=True).order_by("pk").values_list("pk", flat=True))
    except DatabaseError:
        books_failed()
        if known is None:
            raise
        return known[1]
    mine = [pool_id for pool_id in ids if pool_id % settings.TICK_SHARDS == shard]
    _known[shard] = (time.monotonic(), mine)
    return mine


def shards_forget() -> None:
    """Drops what is remembered (tests)."""
    _known.clear()
