"""The control plane's door to the counters: synchronous, on redis-py, for services and Celery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import redis

from pools.counters import keys, records, wire
from pools.counters.library import LONGEST_LEASE_MS, library_text, must_load
from pools.counters.snapshot import Ints, PoolCounters, assemble
from pools.counters.terms import pack_capacity, pack_configuration, tick_rows
from pools.counters.types import (
    Ask,
    CounterUnavailable,
    Decision,
    Drift,
    EntitlementCounterConfig,
    LiveReservation,
    PoolCounterConfig,
    Settled,
    Settlement,
    TickWrite,
    UsageEvent,
)
from pools.mechanism.hot import LEASE_BUCKET_MS

GROUP = "drain"
CHUNK = 500
KEYS_AT_ONCE = 10_000
"""Entitlements of many pools that travel in one round trip."""
Rows = np.ndarray[tuple[int, int], np.dtype[np.float64]]
T = TypeVar("T")


class CounterStore:
    """Every method raises CounterUnavailable when the store cannot be asked.

    Thread-safe (redis-py keeps a pool of connections). The function library is loaded at the first call and again when
    somebody emptied the store; DomainError ``library_conflict`` when another layout is in use there.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0, test_clock: bool = False) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        self._test_clock = test_clock
        self._loaded = False

    def load(self) -> None:
        """Load the function library where it is missing or older."""
        client = self._client
        try:
            reply: Any = client.fcall_ro("tp_version", 0)
        except redis.ResponseError:
            reply = None  # no library there yet
        if must_load(reply, in_use=bool(client.exists(keys.POOLS_KEY)), test_clock=self._test_clock):
            client.function_load(library_text(test_clock=self._test_clock), replace=True)
        self._loaded = True

    def _run(self, deed: Callable[[redis.Redis], T]) -> T:
        try:
            if not self._loaded:
                self.load()
            try:
                return deed(self._client)
            except redis.ResponseError as error:
                if "unction not found" not in str(error):
                    raise
                self.load()
                return deed(self._client)
        except redis.RedisError as error:
            raise CounterUnavailable(f"the counter store could not be asked: {error}") from error

    def _call(self, function: str, pool_id: int, *arguments: Any) -> Any:
        tag = keys.pool_key(pool_id)
        return self._run(lambda client: client.fcall(function, 1, tag, *arguments))

    def configure_pool(self, config: PoolCounterConfig) -> None:
        """Create the pool or replace its capacity record; use and sums stay. Evicts preemptible work above it."""
        self._call("tp_tick", config.pool_id, pack_capacity(config), b"")

    def configure_entitlements(self, pool_id: int, configs: Sequence[EntitlementCounterConfig]) -> None:
        """Write terms; buckets, use and sums stay. The pool must have been configured."""
        packed = [pack_configuration(config) for config in configs]
        for chunk in _chunks(packed, CHUNK):
            self._call("tp_configure", pool_id, *chunk)

    def remove_entitlement(self, pool_id: int, entitlement_id: int) -> None:
        """Refuse it from now on; its live reservations still settle."""
        self._call("tp_remove", pool_id, entitlement_id)

    def entitlement_ids(self, pool_id: int) -> Ints:
        """Ids configured in the pool, ascending."""
        members: Any = self._run(lambda client: client.smembers(keys.members_key(pool_id)))
        return np.sort(np.array([int(member) for member in members], dtype=np.int64))

    def snapshot(self, pool_id: int, entitlement_ids: Sequence[int] | Ints | None = None) -> PoolCounters:
        """Counters of the pool and of the given (default: all configured) entitlements, as numpy arrays.

        Read in chunks, each at one moment. Raises CounterUnavailable for a pool that is not configured.
        """
        ids = self.entitlement_ids(pool_id) if entitlement_ids is None else np.asarray(entitlement_ids, dtype=np.int64)
        return self.snapshots([pool_id], [ids])[0]

    def snapshots(
        self, pool_ids: Sequence[int], entitlement_ids: Sequence[Ints] | None = None, *, terms: bool = True
    ) -> list[PoolCounters]:
        """:meth:`snapshot` of many pools in a few round trips; without ``terms``, which the tick has from the books,
        for little more than half the price."""
        ids = [*entitlement_ids] if entitlement_ids is not None else self._members(pool_ids)
        found: list[PoolCounters] = []
        for part in _parts([len(one) for one in ids], KEYS_AT_ONCE):
            found += self._snapshots(pool_ids[part], ids[part], terms)
        return found

    def _members(self, pool_ids: Sequence[int]) -> list[Ints]:
        def read(client: redis.Redis) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for pool_id in pool_ids:
                pipe.smembers(keys.members_key(pool_id))
            return list(pipe.execute())

        return [np.sort(np.fromiter(map(int, members), np.int64, len(members))) for members in self._run(read)]

    def _snapshots(self, pool_ids: Sequence[int], ids: Sequence[Ints], with_terms: bool) -> list[PoolCounters]:
        def read(client: redis.Redis) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for pool_id, mine in zip(pool_ids, ids, strict=True):
                tag = keys.pool_key(pool_id)
                pipe.time()
                pipe.get(tag)
                pipe.xlen(keys.usage_key(pool_id))
                for chunk in _chunks(mine.tolist(), 2000):
                    names = [f"{tag}:e:{key}" for key in chunk]
                    pipe.mget(names + [f"{tag}:c:{key}" for key in chunk] if with_terms else names)
            return list(pipe.execute())

        replies = iter(self._run(read))
        found = []
        for pool_id, mine in zip(pool_ids, ids, strict=True):
            (seconds, micros), raw, backlog = next(replies), next(replies), next(replies)
            hot: list[bytes | None] = []
            terms: list[bytes | None] | None = [] if with_terms else None
            for at in range(0, len(mine), 2000):
                values, count = next(replies), min(2000, len(mine) - at)
                hot += values[:count]
                if terms is not None:
                    terms += values[count:]
            if raw is None:
                raise CounterUnavailable(f"pool {pool_id} is not configured in the counter store")
            at_ms = self._test_now(pool_id) if self._test_clock else seconds * 1000 + micros // 1000
            found.append(assemble(pool_id, at_ms, records.unpack_pool(raw), mine, hot, terms, backlog))
        return found

    def _test_now(self, pool_id: int) -> int:
        value: Any = self._client.get(keys.test_clock_key(pool_id))
        return int(value or 0)

    def write_tick(self, pool_id: int, tick: TickWrite) -> None:
        """Write limits and weights, and the capacity record if given. Atomic per 500 entitlements, pipelined."""
        self.write_ticks([(pool_id, tick)])

    def write_ticks(self, ticks: Sequence[tuple[int, TickWrite]]) -> None:
        """:meth:`write_tick` of many pools in a few round trips. Raises ValueError before anything is written."""
        rows = [tick_rows(tick) for _, tick in ticks]
        for part in _parts([len(one) for one in rows], KEYS_AT_ONCE):
            self._write_ticks(ticks[part], rows[part])

    def _write_ticks(self, ticks: Sequence[tuple[int, TickWrite]], rows: Sequence[Rows]) -> None:
        def write(client: redis.Redis) -> None:
            pipe = client.pipeline(transaction=False)
            for (pool_id, tick), mine in zip(ticks, rows, strict=True):
                tag = keys.pool_key(pool_id)
                first = pack_capacity(tick.pool) if tick.pool is not None else b""
                due = (tick.next_tick_at_ms,) if tick.next_tick_at_ms else ()
                for start in range(0, max(1, len(mine)), CHUNK):
                    pipe.fcall("tp_tick", 1, tag, first, mine[start : start + CHUNK].tobytes(), *due)
                    first = b""
            pipe.execute()

        self._run(write)

    def reap(self, pool_id: int, max_count: int = 50_000) -> int:
        """Close reservations whose lease ran out and forget finished ones; returns how many were expired.

        Looks at up to ``max_count`` names (every admitted request is one), 500 per call.
        """
        expired, left = 0, max_count
        while left > 0:
            closed, examined, more = self._call("tp_reap", pool_id, min(left, CHUNK))
            expired += closed
            left -= max(1, examined)
            if not more:
                break
        return expired

    def read_usage(self, pool_id: int, consumer: str, count: int = 1000) -> list[UsageEvent]:
        """Events nobody has acknowledged yet: first those this consumer took before, then new ones."""
        stream = keys.usage_key(pool_id)

        def read(client: redis.Redis) -> Any:
            try:
                entries: Any = client.xreadgroup(GROUP, consumer, {stream: "0"}, count=count)
            except redis.ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                client.xgroup_create(stream, GROUP, id="0", mkstream=True)
                entries = []
            if not _entries(entries):
                entries = client.xreadgroup(GROUP, consumer, {stream: ">"}, count=count)
            return _entries(entries)

        events = []
        for stream_id, flat in self._run(read):
            events += [wire.read_event(pool_id, stream_id.decode(), raw) for raw in flat]
        return events

    def ack_usage(self, pool_id: int, stream_ids: Iterable[str]) -> int:
        """Acknowledge and delete stored events; returns how many stream entries went."""
        unique = list(dict.fromkeys(stream_ids))
        stream = keys.usage_key(pool_id)

        def acknowledge(client: redis.Redis) -> int:
            pipe = client.pipeline(transaction=True)
            for chunk in _chunks(unique, 1000):
                pipe.xack(stream, GROUP, *chunk)
                pipe.xdel(stream, *chunk)
            return sum(pipe.execute()[1::2])

        return self._run(acknowledge) if unique else 0

    def usage_backlog(self, pool_id: int) -> int:
        """Stream entries nobody has acknowledged."""
        length: Any = self._run(lambda client: client.xlen(keys.usage_key(pool_id)))
        return int(length)

    def live_reservations(self, pool_id: int) -> list[LiveReservation]:
        """Every reservation that is not settled or expired yet."""
        flat = self._call("tp_live", pool_id, 0)
        return [wire.read_live(name, raw) for name, raw in zip(flat[::2], flat[1::2], strict=True)]

    def recount(self, pool_id: int) -> int:
        """Make use, reserved tokens and holds follow the live reservations again; returns how many live."""
        first = (self.server_now_ms(pool_id) - LONGEST_LEASE_MS) // LEASE_BUCKET_MS
        return int(self._call("tp_recount", pool_id, max(1, first)))

    def drift(self, pool_id: int) -> Drift:
        """How far use, reserved tokens and KV bytes are from the live reservations; changes nothing."""
        return Drift(*(int(value) for value in self._call("tp_drift", pool_id)))

    def reserve(self, ask: Ask) -> Decision:
        """As CounterClient.reserve, for other gateways' doors and tests."""
        return wire.read_decision(self._keyed("tp_reserve", ask, wire.pack_ask(ask)))

    def settle(self, settlement: Settlement) -> Settled:
        """As CounterClient.settle."""
        return wire.read_settled(self._keyed("tp_settle", settlement, wire.pack_settlement(settlement)))

    def _keyed(self, function: str, item: Ask | Settlement, packed: bytes) -> Any:
        tag, names = keys.pool_key(item.pool_id), wire.call_keys(item)
        return self._run(lambda client: client.fcall(function, 4, tag, *names, packed))

    def put_document(self, key: str, document: bytes) -> None:
        """Write a JSON document for the gateways."""
        self._run(lambda client: client.set(key, document))

    def get_document(self, key: str) -> bytes | None:
        value: Any = self._run(lambda client: client.get(key))
        return value if isinstance(value, bytes) else None

    def delete_document(self, key: str) -> None:
        self._run(lambda client: client.delete(key))

    def publish(self, channel: str, message: str) -> None:
        self._run(lambda client: client.publish(channel, message))

    def server_now_ms(self, pool_id: int = 0) -> int:
        """The store's clock, which all times in the counters follow."""
        if self._test_clock:
            return self._test_now(pool_id)
        seconds, micros = self._run(lambda client: client.time())
        return int(seconds) * 1000 + int(micros) // 1000

    def close(self) -> None:
        self._client.close()


def _entries(reply: Any) -> list[tuple[bytes, list[bytes]]]:
    """(id, events) of an XREADGROUP reply; an entry that was trimmed while pending has none."""
    if not reply:
        return []
    streams = reply.values() if isinstance(reply, dict) else [stream[1] for stream in reply]
    return [(key, list((fields or {}).values())) for entries in streams for key, fields in entries]


def _parts(sizes: Sequence[int], most: int) -> Iterable[slice]:
    """Slices of neighbours whose sizes add up to at most ``most``, at least one each."""
    first = total = 0
    for index, size in enumerate(sizes):
        if index > first and total + size > most:
            yield slice(first, index)
            first, total = index, 0
        total += size
    if first < len(sizes):
        yield slice(first, len(sizes))


def _chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
