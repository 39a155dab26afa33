"""This process's plain client of the hot store: documents, locks, live state. Counters have a door of their own."""

from __future__ import annotations

import os
from functools import lru_cache

import redis
from django.conf import settings


@lru_cache(maxsize=4)
def _client(url: str, pid: int) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=5.0, socket_connect_timeout=2.0)


def hot() -> redis.Redis:
    """A redis-py client of REDIS_URL, one per process: a connection is never shared across a fork."""
    return _client(settings.REDIS_URL, os.getpid())
