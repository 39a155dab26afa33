"""A cache in front of sessions that may be away: reading then misses and writing is skipped, the database has them all.

Deleting is not forgiven: a session that ended must not come back from a store that slept through its end.
"""

from __future__ import annotations

import logging
from typing import Any

from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

log = logging.getLogger(__name__)


class LenientRedisCache(RedisCache):
    """For SESSION_CACHE_ALIAS only."""

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """The value, or the default where the store is away."""
        try:
            return super().get(key, default, version)
        except RedisError as error:
            log.warning("sessions are read from the database: %s", error)
            return default

    def set(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> None:
        """Kept, unless the store is away."""
        try:
            super().set(key, value, *args, **kwargs)
        except RedisError as error:
            log.warning("a session is kept in the database alone: %s", error)

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Whether it is there; not where the store is away."""
        try:
            return bool(super().has_key(key, version))
        except RedisError:
            return False
