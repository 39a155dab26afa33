"""The sockets: check the right, send the snapshot, forward. No rules of the mechanism here."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer

from pools.selectors.live import live_for_tenant, live_rows_only, live_wanted
from portal.live.access import Grant, grant, snapshot
from portal.live.hub import Listener, hub
from portal.live.rights import RIGHTS, RightsFeed, RightsListener, session_lives

SIGN_IN = 4401
FORBIDDEN = 4403
RECHECK_S = 30.0
LONGEST_WISH = 12_000


class PoolConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no annotations
    """``/ws/pools/<id>/`` for operators, ``/ws/t/<slug>/pools/<id>/`` for a tenant's people.

    Refused before the handshake is answered (HTTP 403). Rights are read again when they are said to have changed, and
    every half minute anyway: who lost them, was deactivated or signed out everywhere is cut off with 4403.
    """

    channel_layer_alias = "none"  # the hub holds the subscription, not each socket

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.listener: Listener | None = None
        self.granted: Grant | None = None
        self.rights: RightsListener | None = None
        self.tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Check, join, send what is known, then forward."""
        user_id = self._user_id()
        if user_id is None:
            await self.close(SIGN_IN)
            return
        self.rights = RightsListener(user_id)
        hub().feed(RIGHTS, RightsFeed)
        await hub().join(RIGHTS, self.rights)  # before the check, so that no change falls between
        self.granted = await self._allowed(user_id)
        if self.granted is None:
            hub().leave(RIGHTS, self.rights)
            await self.close(FORBIDDEN)
            return
        self.listener = await self.listen(self.granted)
        await self.accept()
        await self.first(self.granted)
        watch = self._watch(user_id, self.rights)
        self.tasks = [asyncio.create_task(self._forward(self.listener)), asyncio.create_task(watch)]

    async def listen(self, granted: Grant) -> Listener:
        """Joins what was granted."""
        listener = Listener(granted.tenant_id)
        await hub().join(granted.pool_id, listener)
        return listener

    async def first(self, granted: Grant) -> None:
        """Sends what is known before anything new is heard."""
        text = await snapshot(granted.pool_id, id(asyncio.get_running_loop()))
        if text is None:
            return
        if granted.tenant_id is not None:
            await self.send(live_for_tenant(text, granted.tenant_id).decode())
        else:
            await self.send(live_rows_only(text, self.listener.wanted if self.listener is not None else None))

    async def disconnect(self, code: int) -> None:
        """Leave the hub; safe when nothing was joined."""
        for task in self.tasks:
            if task is not asyncio.current_task():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
        if self.rights is not None:
            hub().leave(RIGHTS, self.rights)
        if self.listener is not None and self.granted is not None:
            hub().leave(self.granted.pool_id, self.listener)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """A page of operators may say which rows it shows (``{"rows": [ids]}``); nothing else changes anything."""
        granted, listener = self.granted, self.listener
        if granted is None or listener is None or granted.tenant_id is not None or not text_data:
            return
        wanted = live_wanted(text_data) if len(text_data) <= LONGEST_WISH else None
        if wanted is None or wanted == listener.wanted:
            return
        listener.wanted = wanted
        await self.first(granted)

    async def _forward(self, listener: Listener) -> None:
        while True:
            await self.send(await listener.get())

    async def _watch(self, user_id: int, rights: RightsListener) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RECHECK_S):
                    await rights.get()
            if await self._allowed(user_id) != self.granted:
                await self.close(FORBIDDEN)
                return

    async def _allowed(self, user_id: int) -> Grant | None:
        """What may be heard now: nothing once the session has ended."""
        return await self._grant() if await session_lives(user_id, self.scope["session"]) else None

    def _user_id(self) -> int | None:
        user = self.scope.get("user")
        return user.pk if user is not None and user.is_authenticated else None

    async def _grant(self) -> Grant | None:
        route = self.scope["url_route"]["kwargs"]
        found: Grant | None = await grant(self._user_id(), route["pool_id"], route.get("slug"))
        return found
