"""The overview's socket: a whole state on connect, then only the rows that changed.

One subscription per process. The feed numbers every change; a listener knows the number it has seen, so a slow one gets
everything it missed in one message, and a quick one a small one.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import redis.asyncio as redis
from channels.db import database_sync_to_async
from django.conf import settings

from pools.selectors.overview import ALL_POOLS, GROUP, LATEST_KEY
from portal.accounts.models import User
from portal.live.access import Grant, store_client
from portal.live.consumers import PoolConsumer
from portal.live.hub import Feed, Listener, hub

SHOWN = ("v", "at", "sentence", "totals")
KEPT_TEXTS = 8


class OverviewState:
    """What was said last about every pool, with the number of the message that said it."""

    def __init__(self) -> None:
        self.number = 0
        self.head: dict[str, Any] = {}
        self.rows: dict[int, tuple[int, list[Any]]] = {}
        self.gone: dict[int, int] = {}
        self._texts: dict[int, str] = {}

    def take(self, text: str | bytes) -> None:
        """A message from the tick."""
        message = orjson.loads(text)
        self.number += 1
        self._texts.clear()
        self.head = {name: message.get(name) for name in SHOWN}
        found = {row[0]: row for row in message["rows"]}
        for pool_id in self.rows.keys() - found.keys():
            del self.rows[pool_id]
            self.gone[pool_id] = self.number
        for pool_id, row in found.items():
            known = self.rows.get(pool_id)
            if known is None or known[1] != row:
                self.rows[pool_id] = (self.number, row)
                self.gone.pop(pool_id, None)

    def since(self, number: int) -> str:
        """What changed after a message; everything for 0. A text is made once for all who ask the same."""
        if number not in self._texts:
            if len(self._texts) >= KEPT_TEXTS:
                self._texts.clear()
            rows = [row for changed, row in self.rows.values() if changed > number]
            gone = [pool_id for pool_id, left in self.gone.items() if left > number] if number else []
            self._texts[number] = orjson.dumps({**self.head, "full": not number, "rows": rows, "gone": gone}).decode()
        return self._texts[number]


class OverviewListener(Listener):
    """A socket's place in the numbering; it starts with everything."""

    def __init__(self, state: OverviewState) -> None:
        super().__init__(None)
        self._state = state
        self._seen = 0

    async def get(self) -> str:
        """Wait for news; what changed since the last time."""
        await self._fresh.wait()
        self._fresh.clear()
        text, self._seen = self._state.since(self._seen), self._state.number
        return text


class OverviewFeed(Feed):
    """The process's subscription to the sums."""

    def __init__(self) -> None:
        self.state = OverviewState()
        super().__init__(ALL_POOLS, GROUP)

    def spread(self, text: str) -> None:
        """Takes a message and wakes everybody."""
        self.state.take(text)
        for listener in self.listeners:
            listener.put(text)


@database_sync_to_async  # type: ignore[untyped-decorator]
def overview_grant(user_id: int | None) -> Grant | None:
    """Operators, admins and auditors."""
    user = User.objects.filter(pk=user_id, is_active=True).first() if user_id is not None else None
    return Grant(ALL_POOLS, None) if user is not None and user.reads_everything else None


async def overview_latest() -> bytes | None:
    """The latest message, whatever its age; None when there is none or the store is away."""
    try:
        found: bytes | None = await store_client(settings.REDIS_URL, id(asyncio.get_running_loop())).get(LATEST_KEY)
    except (redis.RedisError, OSError):
        return None
    return found


class OverviewConsumer(PoolConsumer):
    """``/ws/overview/`` for whoever reads everything."""

    async def listen(self, granted: Grant) -> Listener:
        """Joins the feed; a feed that has heard nothing yet begins with the message kept in the store."""
        feed = hub().feed(ALL_POOLS, OverviewFeed)
        assert isinstance(feed, OverviewFeed)
        listener = OverviewListener(feed.state)
        await hub().join(ALL_POOLS, listener)
        if not feed.state.number and (text := await overview_latest()) is not None and not feed.state.number:
            feed.state.take(text)
        if feed.state.number:
            listener.put("")
        return listener

    async def first(self, granted: Grant) -> None:
        """The listener's first text is everything there is."""

    async def _grant(self) -> Grant | None:
        found: Grant | None = await overview_grant(self._user_id())
        return found
