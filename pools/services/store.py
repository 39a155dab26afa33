"""This process's handle on the counters."""

from __future__ import annotations

import os
from functools import lru_cache

from django.conf import settings

from pools.counters.store import CounterStore
from portal.lib.hot import hot

__all__ = ["counters", "hot"]


@lru_cache(maxsize=4)
def _counters(url: str, pid: int) -> CounterStore:
    return CounterStore(url)


def counters() -> CounterStore:
    """The counter store of this process; loads the function library on first use."""
    return _counters(settings.REDIS_URL, os.getpid())
