"""The gateway's door to the counters: asyncio, one connection, every call of a loop tick in one write.

Decisions of one pool asked in the same loop tick travel as ONE function call; the caller notices nothing of it, except
that all of them cost little more than one.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import hiredis

from pools.choices import Outcome
from pools.counters import keys, wire
from pools.counters.library import LIBRARY, library_text, must_load
from pools.counters.listener import Listener
from pools.counters.transport import Address, Connection, encode
from pools.counters.types import (
    OUTCOMES,
    Ask,
    CounterUnavailable,
    Decision,
    Heartbeat,
    HeartbeatReply,
    Settled,
    Settlement,
)

LARGEST_BATCH = 64
RELEASED = OUTCOMES.index(Outcome.RELEASED)
Reader = Callable[[bytes, int], Any]
Names = tuple[bytes, bytes] | None
Batch = tuple[Reader, list[Names], list[bytes], list[asyncio.Future[Any]]]


class CounterClient:
    """Every method raises CounterUnavailable when the store cannot be asked, ValueError for numbers out of range.

    ``url``: ``redis://``, ``rediss://`` or ``unix://`` with password and database as redis-py reads them. reserve,
    settle and heartbeat may be repeated after CounterUnavailable: the same request id never counts twice. Use from
    one event loop; make one per process and loop.
    """

    def __init__(
        self,
        url: str,
        *,
        command_timeout_s: float = 1.0,
        connect_timeout_s: float = 2.0,
        coalesce: bool = True,
        test_clock: bool = False,
    ) -> None:
        self._address = Address.parse(url)
        self._command_timeout_s = command_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._batch = LARGEST_BATCH if coalesce else 1
        self._test_clock = test_clock
        self._connection: Connection | None = None
        self._listener: Listener | None = None
        self._heads: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        self._asked: dict[tuple[bytes, int], Batch] = {}

    async def start(self) -> None:
        """Connect and load the function library; raises CounterUnavailable or DomainError ``library_conflict``.

        After CounterUnavailable it keeps trying in the background, so a gateway may start before its store.
        """
        self._loop = asyncio.get_running_loop()
        command_s, connect_s = self._command_timeout_s, self._connect_timeout_s
        self._connection = Connection(
            self._address, command_timeout_s=command_s, connect_timeout_s=connect_s, greet=self._load_library
        )
        self._listener = Listener(self._address, command_timeout_s=command_s, connect_timeout_s=connect_s)
        try:
            await self._connection.connect()
        except CounterUnavailable:
            self._connection.retry_later()
            raise

    @property
    def ready(self) -> bool:
        """Connected, library loaded."""
        return self._connection is not None and self._connection.ready

    async def _load_library(self, connection: Connection) -> None:
        reply = await connection.ask(encode("FCALL_RO", "tp_version", 0))
        in_use = await connection.ask(encode("EXISTS", keys.POOLS_KEY))
        known = None if isinstance(reply, hiredis.ReplyError) else reply
        if must_load(known, in_use=bool(in_use), test_clock=self._test_clock):
            text = library_text(test_clock=self._test_clock)
            loaded = await connection.ask(encode("FUNCTION", "LOAD", "REPLACE", text))
            if isinstance(loaded, hiredis.ReplyError):
                raise CounterUnavailable(f"the store refused the function library {LIBRARY}: {loaded}")

    async def reserve(self, ask: Ask) -> Decision:
        """Decide about one request (mechanism.admission.decide, in the store, atomically)."""
        answer: Decision = await self._keyed(b"tp_reserve", ask, wire.pack_ask(ask), wire.read_decision)
        return answer

    async def settle(self, settlement: Settlement) -> Settled:
        """Close a reservation; repeated, it answers status 2 with the first figures."""
        packed = wire.pack_settlement(settlement)
        answer: Settled = await self._keyed(b"tp_settle", settlement, packed, wire.read_settled)
        return answer

    async def release(self, pool_id: int, entitlement_id: int, request_id: str) -> Settled:
        """Give a reservation back unused (outcome ``released``, nothing charged)."""
        return await self.settle(Settlement(pool_id, entitlement_id, request_id, 0, RELEASED, 1))

    async def heartbeat(self, beat: Heartbeat) -> HeartbeatReply:
        """Extend a lease and report streamed tokens; says whether the reservation was evicted meanwhile."""
        packed = wire.pack_heartbeat(beat)
        answer: HeartbeatReply = await self._call(b"tp_heartbeat", beat[0], None, packed, wire.read_heartbeat)
        return answer

    def _keyed(self, function: bytes, item: Ask | Settlement, packed: bytes, reader: Reader) -> asyncio.Future[Any]:
        """A call whose keys are the entitlement's, its terms' and the reservation's."""
        place = (item[0], item[1])
        heads = self._heads.get(place)
        if heads is None:
            heads = self._heads[place] = self._head(*place)
        first, prefix = heads
        name = prefix + item[2].encode()
        return self._call(function, item[0], (first, b"$%d\r\n%b\r\n" % (len(name), name)), packed, reader)

    def _head(self, pool_id: int, entitlement_id: int) -> tuple[bytes, bytes]:
        if len(self._heads) > 50_000:
            self._heads.clear()
        tag = keys.pool_key(pool_id)
        known = [f"{tag}:e:{entitlement_id}".encode(), f"{tag}:c:{entitlement_id}".encode()]
        return b"".join([b"$%d\r\n%b\r\n" % (len(key), key) for key in known]), f"{tag}:r:{entitlement_id}:".encode()

    def _call(self, function: bytes, pool_id: int, names: Names, packed: bytes, reader: Reader) -> asyncio.Future[Any]:
        connection = self._connection
        if connection is None or not connection.ready:
            raise CounterUnavailable(connection.reason if connection else "the counter client was not started")
        future = self._loop.create_future()
        if self._batch == 1:
            self._send(function, pool_id, reader, [names], [packed], [future])
            return future
        asked = self._asked
        if not asked:
            self._loop.call_soon(self._flush)
        key = (function, pool_id)
        batch = asked.get(key)
        if batch is None:
            asked[key] = (reader, [names], [packed], [future])
        else:
            batch[1].append(names)
            batch[2].append(packed)
            batch[3].append(future)
        return future

    def _flush(self) -> None:
        asked, self._asked = self._asked, {}
        for (function, pool_id), (reader, names, packed, futures) in asked.items():
            for first in range(0, len(packed), LARGEST_BATCH):
                part = slice(first, first + LARGEST_BATCH)
                try:
                    self._send(function, pool_id, reader, names[part], packed[part], futures[part])
                except CounterUnavailable as error:
                    _fail(futures[part], error)

    def _send(
        self,
        function: bytes,
        pool_id: int,
        reader: Reader,
        names: list[Names],
        packed: list[bytes],
        futures: list[asyncio.Future[Any]],
    ) -> None:
        count = len(packed)
        tag = b"{tp:%d}" % pool_id
        keyed = names[0] is not None
        key_count, arguments, middle = 1, count, b""
        if keyed and count == 1:
            key_count, middle = 4, b"".join(names[0])  # type: ignore[arg-type]
        elif keyed:
            owners: dict[bytes, int] = {}
            places = [owners.setdefault(pair, len(owners)) for pair, _ in names]  # type: ignore[misc]
            key_count, arguments = 1 + 2 * len(owners) + count, count + 1
            middle = b"%b%b$%d\r\n%b\r\n" % (
                b"".join(owners),
                b"".join([name for _, name in names]),  # type: ignore[misc]
                2 * count,
                struct.pack(f"<{count}H", *places),
            )
        digits = b"%d" % key_count
        head = b"*%d\r\n$5\r\nFCALL\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
            3 + key_count + arguments, len(function), function, len(digits), digits, len(tag), tag,
        )  # fmt: skip
        if keyed:  # asks and settlements have one size each
            size = len(packed[0])
            command = b"%b%b$%d\r\n%b\r\n" % (head, middle, size, (b"\r\n$%d\r\n" % size).join(packed))
        else:
            command = head + b"".join([b"$%d\r\n%b\r\n" % (len(raw), raw) for raw in packed])
        assert self._connection is not None
        self._connection.send(command, lambda reply: self._answer(reply, reader, futures))

    def _answer(self, reply: Any, reader: Reader, futures: list[asyncio.Future[Any]]) -> None:
        if type(reply) is not bytes:
            _fail(futures, self._failure(reply))
            return
        for index, future in enumerate(futures):
            if not future.done():
                future.set_result(reader(reply, index))

    def _failure(self, reply: Any) -> CounterUnavailable:
        if isinstance(reply, CounterUnavailable):
            return reply
        if "unction not found" in str(reply) and self._connection is not None:
            # Somebody emptied the store: the next call shall find the library again.
            self._reload = self._loop.create_task(self._load_library(self._connection))
        return CounterUnavailable(f"the store could not run the call: {reply}")

    async def get_document(self, key: str) -> bytes | None:
        """A JSON document the control plane put there; None when absent."""
        reply = await self._ask("GET", key)
        return reply if isinstance(reply, bytes) else None

    async def note(self, key: str, name: str, text: str) -> None:
        """One field of a hash: a sign of life of this process."""
        await self._ask("HSET", key, name, text)

    async def ping(self) -> None:
        """One round trip."""
        await self._ask("PING")

    async def _ask(self, *words: str | bytes) -> Any:
        connection = self._connection
        if connection is None or not connection.ready:
            raise CounterUnavailable(connection.reason if connection else "the counter client was not started")
        future = self._loop.create_future()
        connection.send(encode(*words), lambda reply: _deliver(future, reply))
        return await future

    def on_eviction(self, pool_id: int, callback: Callable[[int, str], None]) -> None:
        """callback(entitlement_id, request_id) in the loop for every victim announced in the pool. After start()."""

        def victims(message: bytes) -> None:
            for line in message.decode().split("\n"):
                entry, _, request_id = line.partition(":")
                callback(int(entry), request_id)

        self._listen(keys.eviction_channel(pool_id), victims)

    def on_release(self, pool_id: int, callback: Callable[[], None]) -> None:
        """callback() when room came free while somebody holds a refused request in the pool. After start()."""
        self._listen(keys.release_channel(pool_id), lambda _message: callback())

    def on_revoked(self, callback: Callable[[str], None]) -> None:
        """callback(key digest) for every revoked key. After start()."""
        self._listen(keys.REVOKED_CHANNEL, lambda message: callback(message.decode()))

    def _listen(self, channel: str, callback: Callable[[bytes], None]) -> None:
        if self._listener is None:
            raise CounterUnavailable("the counter client was not started")
        self._listener.subscribe(channel, callback)

    async def listening(self) -> None:
        """Wait until every channel asked for is really subscribed."""
        if self._listener is not None:
            await self._listener.settled()

    async def close(self) -> None:
        """Close both connections; what is in flight fails."""
        if self._listener is not None:
            await self._listener.close()
        if self._connection is not None:
            await self._connection.close()


def _fail(futures: list[asyncio.Future[Any]], error: CounterUnavailable) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


def _deliver(future: asyncio.Future[Any], reply: Any) -> None:
    if future.done():
        return
    if isinstance(reply, CounterUnavailable):
        future.set_exception(reply)
    elif isinstance(reply, hiredis.ReplyError):
        future.set_exception(CounterUnavailable(f"the store could not run the call: {reply}"))
    else:
        future.set_result(reply)
