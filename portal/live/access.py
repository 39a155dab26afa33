"""Who may listen to which pool."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import redis.asyncio as redis
from channels.db import database_sync_to_async
from django.conf import settings

from pools.choices import EntitlementState
from pools.models import Entitlement, Pool
from pools.selectors.live import live_key
from portal.accounts.models import User

__all__ = ["Grant", "grant", "snapshot", "store_client"]


class Grant(NamedTuple):
    """May listen to ``pool_id``: to everything (``tenant_id`` None) or to one tenant's part."""

    pool_id: int
    tenant_id: int | None


@database_sync_to_async  # type: ignore[untyped-decorator]
def grant(user_id: int | None, pool_id: int, tenant_slug: str | None) -> Grant | None:
    """The right to listen, read from the database as it is now; None when there is none.

    Without a tenant the whole pool is asked for: operators and auditors only. With one, its people (and whoever reads
    everything) get that tenant's part, if it holds a living entitlement in the pool.
    """
    user = User.objects.filter(pk=user_id, is_active=True).first() if user_id is not None else None
    if user is None:
        return None
    if tenant_slug is None:
        seen = user.reads_everything and Pool.objects.filter(pk=pool_id).exists()
        return Grant(pool_id, None) if seen else None
    rows = Entitlement.objects.filter(pool_id=pool_id, tenant__slug=tenant_slug).exclude(state=EntitlementState.EXPIRED)
    if not user.reads_everything:
        rows = rows.filter(tenant__memberships__user=user)
    tenant_id = rows.values_list("tenant_id", flat=True).first()
    return Grant(pool_id, tenant_id) if tenant_id is not None else None


@lru_cache(maxsize=8)
def store_client(url: str, loop: int) -> Any:
    """The hot store's client of one event loop."""
    return redis.Redis.from_url(url, socket_timeout=2.0, socket_connect_timeout=2.0)


async def snapshot(pool_id: int, loop: int) -> bytes | None:
    """The latest live message of a pool, whatever its age; None when there is none or the store is away."""
    try:
        found: bytes | None = await store_client(settings.REDIS_URL, loop).get(live_key(pool_id))
    except (redis.RedisError, OSError):
        return None
    return found
