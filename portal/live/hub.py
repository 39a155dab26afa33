"""One subscription per process and pool, however many people look: the newest text is handed to every listener.

A listener holds one slot, not a queue: whoever reads slowly skips old states and never makes others wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from channels.layers import get_channel_layer

from pools.selectors.live import Wanted, live_group
from portal.live.message import PageTexts, TenantTexts

log = logging.getLogger(__name__)
RETRY_S = 1.0


class Listener:
    """One socket's slot: the newest text and an event that says it is new. ``wanted``: the rows its page shows."""

    def __init__(self, tenant_id: int | None) -> None:
        self.tenant_id = tenant_id
        self.wanted: Wanted = None
        self._text: str | None = None
        self._fresh = asyncio.Event()

    def put(self, text: str) -> None:
        """Replace whatever was not read yet."""
        self._text = text
        self._fresh.set()

    async def get(self) -> str:
        """Wait for a text that was not read yet."""
        await self._fresh.wait()
        self._fresh.clear()
        return self._text or ""


class Feed:
    """The process's only subscription to one pool (or, under pool 0, to the sums of all)."""

    def __init__(self, pool_id: int, group: str | None = None) -> None:
        self.pool_id = pool_id
        self.group = group or live_group(pool_id)
        self.listeners: set[Listener] = set()
        self._texts = TenantTexts()
        self._pages = PageTexts()
        self._joined = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def joined(self) -> None:
        """Returns once messages are being received, so that nothing falls between snapshot and stream."""
        await self._joined.wait()

    def stop(self) -> None:
        """Ends the subscription."""
        self._task.cancel()

    def spread(self, text: str) -> None:
        """Hand a text to every listener; a tenant's part is made once per tenant, a page's once per set of rows."""
        for listener in self.listeners:
            if listener.tenant_id is None:
                listener.put(self._pages.get(text, listener.wanted) if self.pool_id else text)
            else:
                listener.put(self._texts.get(text, listener.tenant_id))

    async def _run(self) -> None:
        layer: Any = get_channel_layer()
        while True:
            channel = await layer.new_channel()
            try:
                await layer.group_add(self.group, channel)
                self._joined.set()
                while True:
                    message = await layer.receive(channel)
                    self.spread(message["text"])
            except asyncio.CancelledError:
                with contextlib.suppress(Exception):
                    await layer.group_discard(self.group, channel)
                raise
            except Exception:
                log.warning("live feed %s lost its store; joining again", self.group, exc_info=True)
                await asyncio.sleep(RETRY_S)


class Hub:
    """The feeds of one event loop."""

    def __init__(self) -> None:
        self.feeds: dict[int, Feed] = {}

    def feed(self, pool_id: int, make: Callable[[], Feed] | None = None) -> Feed:
        """The feed of a pool; who asks first subscribes the process, and joins it."""
        if pool_id not in self.feeds:
            self.feeds[pool_id] = make() if make is not None else Feed(pool_id)
        return self.feeds[pool_id]

    async def join(self, pool_id: int, listener: Listener) -> None:
        """Listen to a pool."""
        feed = self.feed(pool_id)
        feed.listeners.add(listener)
        await feed.joined()

    def leave(self, pool_id: int, listener: Listener) -> None:
        """Stop listening; the last one to go ends the subscription."""
        feed = self.feeds.get(pool_id)
        if feed is None:
            return
        feed.listeners.discard(listener)
        if not feed.listeners:
            del self.feeds[pool_id]
            feed.stop()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())
