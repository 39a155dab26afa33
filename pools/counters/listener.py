"""The channels of the store: a second connection that stays subscribed, through every reconnect, to what was asked for.

A message missed while the connection was down is not sent again: heartbeats tell of evictions too, holds run out, and
key documents are cached for less than a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pools.counters.transport import Address, Connection, encode
from pools.counters.types import CounterUnavailable

Callback = Callable[[bytes], None]


class Listener:
    """Calls back in the event loop for every message of a channel; connects at the first subscription."""

    def __init__(self, address: Address, *, command_timeout_s: float, connect_timeout_s: float) -> None:
        self._callbacks: dict[bytes, list[Callback]] = {}
        self._confirmed: set[bytes] = set()
        self._changed = asyncio.Event()
        self._started = False
        self._connection = Connection(
            address,
            command_timeout_s=command_timeout_s,
            connect_timeout_s=connect_timeout_s,
            greet=self._resubscribe,
            on_push=self._push,
        )

    def subscribe(self, channel: str, callback: Callback) -> None:
        """May be called at any time after the loop runs; several callbacks per channel are fine."""
        name = channel.encode()
        fresh = name not in self._callbacks
        self._callbacks.setdefault(name, []).append(callback)
        if not self._started:
            self._started = True
            self._connection.retry_later()
        elif fresh and self._connection.ready:
            self._connection.write(encode("SUBSCRIBE", name))

    async def _resubscribe(self, connection: Connection) -> None:
        self._confirmed.clear()
        if self._callbacks:
            connection.write(encode("SUBSCRIBE", *self._callbacks))

    def _push(self, reply: Any) -> None:
        kind, channel = reply[0], reply[1]
        if kind == b"message":
            for callback in self._callbacks.get(channel, ()):
                callback(reply[2])
        elif kind == b"subscribe":
            self._confirmed.add(channel)
            self._changed.set()
            # One that was asked for while the greeting was under way.
            missing = [name for name in self._callbacks if name not in self._confirmed]
            if missing and len(self._confirmed) == reply[2] and self._connection.ready:
                self._connection.write(encode("SUBSCRIBE", *missing))

    async def settled(self) -> None:
        """Wait until all channels are subscribed; raises CounterUnavailable after 5 s."""
        try:
            async with asyncio.timeout(5):
                while not set(self._callbacks) <= self._confirmed:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise CounterUnavailable("the store did not confirm the subscriptions") from None

    async def close(self) -> None:
        await self._connection.close()
