"""The rest of a tick: read the counters, write the limits, keep history. On servers of its own, removed afterwards."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import redis

from benchmarks._common import Report, interleaved, median
from benchmarks._shards import shard
from pools.choices import EntitlementState, ServiceClass
from pools.counters import keys, records
from pools.counters.snapshot import PoolCounters
from pools.counters.store import CounterStore
from pools.counters.types import EntitlementCounterConfig, PoolCounterConfig, TickWrite
from pools.mechanism import tick_record
from pools.mechanism.amounts import Rate
from pools.mechanism.fairness import fairness
from pools.mechanism.hot import EntitlementHot
from pools.mechanism.lending import lending, loans
from pools.mechanism.ordering import Floats, Whole
from pools.mechanism.tick import tick
from pools.mechanism.tick_types import PATIENCE_S, TickInput, TickResult
from portal.embedded.stack import Stack, create_database

CLASSES = tuple(ServiceClass)
HISTORY = (
    ("at_us", "timestamptz"),
    ("entitlement_id", "int8"),
    ("pool_id", "int8"),
    ("use_tokens_per_second", "float8"),
    ("use_kv_bytes", "float8"),
    ("use_concurrency", "float8"),
    ("limit_tokens_per_second", "float8"),
    ("limit_kv_bytes", "float8"),
    ("limit_concurrency", "float8"),
    ("demand_tokens_per_second", "float8"),
    ("weight", "float8"),
    ("debt", "float8"),
    ("burst", "float8"),
    ("gap", "float8"),
)
PARTS = ("read", "compute", "write", "history", "keep", "measure")
MOVED_ONE_IN, REFRESHED_IN = 10, 5
"""A tenth of the limits moves; of the others a fifth is written in turn (``pools.services.tick``)."""
POSTGRES_EPOCH_US = 946_684_800_000_000


def store_and_history(report: Report, entitlements: int) -> None:
    """Whole ticks of a shard in pools of 100 and of 1,000, each part apart, against a bare COPY of the same rows."""
    with tempfile.TemporaryDirectory(prefix="tp-bench-") as folder:
        stack = Stack(Path(folder))
        stack.start()
        try:
            assert stack.postgres is not None
            assert stack.valkey is not None
            create_database(stack.postgres.url("postgres"))
            with psycopg.connect(stack.postgres.url("tokenpools"), autocommit=True) as books:
                for per_pool in (100, 1000):
                    _measure(report, _World(stack.valkey.url, entitlements, per_pool), books)
        finally:
            stack.stop()


class _World:
    """A configured shard in the hot store; pools are numbered from 1, entitlements from 1 across pools."""

    def __init__(self, url: str, entitlements: int, per_pool: int) -> None:
        redis.Redis.from_url(url).flushall()
        self.store = CounterStore(url, timeout_s=60)
        self.given = shard(entitlements, per_pool)
        self.per_pool = per_pool
        self.pool_ids = range(1, 1 + self.given.pools.capacity.shape[0])
        self.raw = redis.Redis.from_url(url)
        self._configure(self.raw)

    def rows(self, pool_id: int) -> slice:
        """Rows of a pool in the shard."""
        return slice((pool_id - 1) * self.per_pool, pool_id * self.per_pool)

    def ids(self, pool_id: int) -> Whole:
        """Entitlement ids of a pool."""
        rows = self.rows(pool_id)
        return np.arange(rows.start + 1, min(rows.stop, self.given.entitlements.pool.size) + 1)

    def _configure(self, raw: redis.Redis) -> None:
        columns = self.given.entitlements
        used = EntitlementHot(at_ms=time.time_ns() // 1_000_000, use_seats=3, use_kv=3_000_000, reserved_tokens=400)
        packed = records.pack_entitlement(used)
        for pool_id in self.pool_ids:
            capacity = self.given.pools.capacity[pool_id - 1]
            self.store.configure_pool(PoolCounterConfig(pool_id, _rate(capacity), 1, 1))
            ids = self.ids(pool_id).tolist()
            self.store.configure_entitlements(
                pool_id,
                [
                    EntitlementCounterConfig(
                        entitlement_id=identity,
                        state=EntitlementState.BOUND,
                        service_class=CLASSES[int(columns.service_class[identity - 1])],
                        base=_rate(columns.base[identity - 1]),
                        cap=_rate(columns.cap[identity - 1]),
                        limit=_rate(columns.base[identity - 1]),
                        bucket_tokens=2000,
                    )
                    for identity in ids
                ],
            )
            raw.mset({keys.entitlement_key(pool_id, identity): packed for identity in ids})

    def read(self) -> TickInput:
        """Every pool's counters, put into the tick's columns."""
        seen = self.store.snapshots(list(self.pool_ids), [self.ids(pool_id) for pool_id in self.pool_ids], terms=False)
        columns = replace(
            self.given.entitlements,
            in_flight=_joined(seen, lambda one: one.in_flight),
            recent_peak=_joined(seen, lambda one: one.peak),
            mean_service_s=_joined(seen, lambda one: one.column("mean_service_us")) / 1e6,
        )
        return replace(self.given, entitlements=columns)

    def write(self, result: TickResult, *, everything: bool = False) -> None:
        """Limits, buckets and weights of every pool: all of them, or those that moved and those whose turn it is."""
        self.store.write_ticks([(pool_id, self._write_of(result, pool_id, everything)) for pool_id in self.pool_ids])

    def keep(self, given: TickInput) -> None:
        """The inputs of every pool, for explanations; the tick does so every fifth time."""
        pipe = self.raw.pipeline(transaction=False)
        for pool_id in self.pool_ids:
            packed = tick_record.pack(given, pool_id - 1, self.rows(pool_id), self.ids(pool_id), pool_id, 1)
            pipe.set(f"tp:explain:{pool_id}:debt", packed)
        pipe.execute()

    def measure(self, given: TickInput, result: TickResult) -> None:
        """How fair every pool was and who lent to whom; every fifth time as well."""
        columns, capacity = given.entitlements, given.pools.capacity
        use = result.explain.average
        found = lending(use, columns.base, result.holds, columns.service_class, columns.pool, capacity)
        for pool_id in self.pool_ids:
            rows = self.rows(pool_id)
            turned_away = result.state.since_refused_s[rows] <= PATIENCE_S
            fairness(use[rows, 0], columns.base[rows, 0], result.demand[rows, 0], turned_away)
            loans(found, rows, self.ids(pool_id), columns.service_class[rows], capacity[pool_id - 1], 12, 64)

    def _write_of(self, result: TickResult, pool_id: int, everything: bool) -> TickWrite:
        rows, ids = self.rows(pool_id), self.ids(pool_id)
        due = np.full(ids.size, True) if everything else (ids % MOVED_ONE_IN == 0) | (ids % REFRESHED_IN == 1)
        return TickWrite(
            entitlement_ids=ids[due],
            limit_tokens_per_second=result.refill[rows][due],
            bucket_tokens=np.ceil(result.bucket_size[rows][due]),
            limit_kv_bytes=result.limit[rows, 1][due],
            limit_concurrency=result.limit[rows, 2][due],
            weights=result.weight[rows][due],
            next_tick_at_ms=1,
        )


def _rate(levels: Floats) -> Rate:
    return Rate(int(levels[0]), int(levels[1]), int(levels[2]))


def _joined(seen: list[PoolCounters], of: Callable[[PoolCounters], Floats]) -> Floats:
    return np.concatenate([of(one) for one in seen])


def history_rows(given: TickInput, result: TickResult, at_us: int) -> bytes:
    """The rows of one sample in PostgreSQL's binary COPY format, made by numpy in one go."""
    count = given.entitlements.pool.size
    layout = [("fields", ">i2")]
    for name, kind in HISTORY:
        layout += [(f"{name}_bytes", ">i4"), (name, ">f8" if kind == "float8" else ">i8")]
    rows = np.zeros(count, dtype=layout)
    rows["fields"] = len(HISTORY)
    values = {
        "at_us": np.full(count, at_us - POSTGRES_EPOCH_US),
        "entitlement_id": np.arange(1, count + 1),
        "pool_id": given.entitlements.pool + 1,
        "demand_tokens_per_second": result.demand[:, 0],
        "weight": result.weight,
        "debt": result.debt,
        "burst": result.burst,
        "gap": result.explain.gap,
    }
    for place, suffix in enumerate(("tokens_per_second", "kv_bytes", "concurrency")):
        values[f"use_{suffix}"] = result.explain.average[:, place]
        values[f"limit_{suffix}"] = result.limit[:, place]
    for name, _ in HISTORY:
        rows[f"{name}_bytes"] = 8
        rows[name] = values[name]
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff"


def _copy(books: psycopg.Connection, table: str, rows: bytes) -> None:
    with books.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(rows)


def _measure(report: Report, world: _World, books: psycopg.Connection) -> None:
    count = world.given.entitlements.pool.size
    report.section(f"{count:,} entitlements, pools of {world.per_pool:,}: a whole tick with its stores")
    columns = ", ".join(f"{name} {kind} NOT NULL" for name, kind in HISTORY)
    for table, law in (("history", ", PRIMARY KEY (at_us, entitlement_id)"), ("bare", "")):
        books.execute(f"DROP TABLE IF EXISTS {table}")
        books.execute(f"CREATE TABLE {table} ({columns}{law})")
    moment = [1_800_000_000_000_000]
    parts: dict[str, list[float]] = {name: [] for name in (*PARTS, "all")}

    def whole() -> float:
        times = [time.perf_counter()]
        given = world.read()
        times.append(time.perf_counter())
        result = tick(given)
        times.append(time.perf_counter())
        world.write(result)
        times.append(time.perf_counter())
        moment[0] += 5_000_000
        _copy(books, "history", history_rows(given, result, moment[0]))
        times.append(time.perf_counter())
        world.keep(given)
        times.append(time.perf_counter())
        world.measure(given, result)
        times.append(time.perf_counter())
        for name, before, after in zip(PARTS, times, times[1:], strict=False):
            parts[name].append(1000.0 * (after - before))
        begun = time.perf_counter()
        world.write(result, everything=True)
        parts["all"].append(1000.0 * (time.perf_counter() - begun))
        return 1000.0 * (times[4] - times[0])  # what comes after delays no limit

    result = tick(world.given)
    rows = history_rows(world.given, result, moment[0])

    def bare() -> float:
        begun = time.perf_counter()
        _copy(books, "bare", rows)
        return 1000.0 * (time.perf_counter() - begun)

    whole()
    for values in parts.values():
        values.clear()
    times = interleaved({"tick": whole, "bare": bare}, report.options.rounds)
    for name, label in (
        ("read", "read: snapshots of every pool"),
        ("compute", "compute"),
        ("write", "write: the tenth that moved, a fifth of the rest"),
        ("all", "write: every limit, after a publication"),
        ("history", "history: binary COPY, keyed"),
        ("keep", "explain: inputs of every pool, on debt steps"),
        ("measure", "fairness of every pool, on debt steps"),
    ):
        report.rate(label, median(parts[name]), "ms")
    report.rate("the whole tick", times["tick"], "ms")
    between = median(parts["read"]) + median(parts["compute"]) + median(parts["write"])
    report.rate("a tick between samples", between, "ms")
    extra = median(parts["keep"]) + median(parts["measure"])
    five = 4 * between + median(times["tick"])
    report.ratio("explain and fairness / the rest of five ticks", extra, five, goal=0.15, at_most=True)
    report.rate("bare append-only COPY of the same rows", times["bare"], "ms")
    report.ratio("whole tick / bare COPY", times["tick"], times["bare"], goal=11.0, at_most=True)
    if count == 100_000:
        report.ratio("a tick between samples / 600 ms", between, 600.0, goal=1.0, at_most=True)
        report.ratio("whole tick / 600 ms", times["tick"], 600.0, goal=1.0, at_most=True)
