"""The health of every part, each asked within a bounded time: a part that is dead is told, and holds up nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import redis
from django.conf import settings
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from pools.counters.keys import usage_key
from pools.counters.library import BUILD
from pools.counters.records import LAYOUT
from pools.selectors.alert_values import drift_key
from pools.selectors.alerts import OPEN_KEY
from pools.selectors.overview import ROWS_KEY, PoolRow, rows_of
from pools.services.documents import EPOCH_KEY
from pools.services.samples import BACKLOG
from portal.lib.pulse import GATEWAYS_KEY, TASKS_KEY, WORKERS_KEY, Pulses, pulses_of

STORE_TIMEOUT_S = 1.0
BOOKS_TIMEOUT_MS = 2000
QUEUES = ("tick", "scaling", "usage", "default")


@dataclass(frozen=True, slots=True)
class Books:
    """PostgreSQL. ``longest_s``: the statement that has been running longest."""

    version: str
    size: int
    sessions: int
    most_sessions: int
    longest_s: float
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Store:
    """The hot store and what was found in it; per pool where it says so (pool id → figure)."""

    version: str
    memory: int
    most_memory: int
    policy: str
    clients: int
    per_second: int
    uptime_s: int
    append_only: bool
    latency_ms: float
    library: tuple[int, int] | None
    queues: dict[str, int]
    samples_waiting: int
    epoch: bool
    watching: bool
    pulses: Pulses
    rows: dict[int, PoolRow] = field(default_factory=dict)
    backlog: dict[int, int] = field(default_factory=dict)
    drifts: dict[int, bytes] = field(default_factory=dict)

    @property
    def library_words(self) -> str:
        """How the function library there compares with this version's."""
        if self.library is None:
            return "not loaded yet"
        layout, build = self.library
        if (layout, build) == (LAYOUT, BUILD):
            return f"layout {layout}, build {build}"
        return f"layout {layout}, build {build} (this version: {LAYOUT}, {BUILD})"


def books() -> Books:
    """One look at PostgreSQL, two seconds at most for each statement. Errors of the database pass through."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(BOOKS_TIMEOUT_MS)])
        began = time.monotonic()
        cursor.execute("SELECT 1")
        latency_ms = (time.monotonic() - began) * 1000
        cursor.execute(
            "SELECT current_setting('server_version'), pg_database_size(current_database()), count(*),"
            " current_setting('max_connections')::int,"
            " coalesce(max(extract(epoch FROM clock_timestamp() - query_start)) FILTER"
            " (WHERE state <> 'idle' AND pid <> pg_backend_pid()), 0) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend'"
        )
        row = cast(tuple[Any, ...], cursor.fetchone())
    return Books(str(row[0]), int(row[1]), int(row[2]), int(row[3]), float(row[4]), latency_ms)


def store(pool_ids: Sequence[int]) -> Store | str:
    """One look at the hot store in two round trips, or the sentence that says why not."""
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=STORE_TIMEOUT_S, socket_connect_timeout=STORE_TIMEOUT_S
    )
    try:
        return _store(client, pool_ids)
    except redis.RedisError as error:
        return f"It does not answer within {STORE_TIMEOUT_S:g} s ({type(error).__name__})."
    finally:
        client.close()


def _store(client: redis.Redis, pool_ids: Sequence[int]) -> Store:
    began = time.monotonic()
    client.ping()
    latency_ms = (time.monotonic() - began) * 1000
    pipe = client.pipeline(transaction=False)
    pipe.info()
    pipe.fcall_ro("tp_version", 0)
    prefix = settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]
    for queue in QUEUES:
        pipe.llen(f"{prefix}{queue}")
    pipe.llen(BACKLOG)
    pipe.exists(EPOCH_KEY)
    pipe.exists(OPEN_KEY)
    for key in (TASKS_KEY, WORKERS_KEY, GATEWAYS_KEY):
        pipe.hgetall(key)
    for pool_id in pool_ids:
        pipe.xlen(usage_key(pool_id))
    pipe.hgetall(ROWS_KEY)
    pipe.mget([drift_key(pool_id) for pool_id in pool_ids] or ["tp:none"])
    info, version, *rest = pipe.execute(raise_on_error=False)
    if isinstance(info, Exception):
        raise info
    queues, rest = rest[: len(QUEUES)], rest[len(QUEUES) :]
    waiting, epoch, watching, tasks, workers, gateways, *pools = rest
    count = len(pool_ids)
    return Store(
        version=str(info.get("valkey_version") or info.get("redis_version") or "?"),
        memory=int(info.get("used_memory") or 0),
        most_memory=int(info.get("maxmemory") or 0),
        policy=str(info.get("maxmemory_policy") or ""),
        clients=int(info.get("connected_clients") or 0),
        per_second=int(info.get("instantaneous_ops_per_sec") or 0),
        uptime_s=int(info.get("uptime_in_seconds") or 0),
        append_only=bool(int(info.get("aof_enabled") or 0)),
        latency_ms=latency_ms,
        library=None if isinstance(version, Exception) else (int(version[0]), int(version[1])),
        queues={queue: _whole(length) for queue, length in zip(QUEUES, queues, strict=True)},
        samples_waiting=_whole(waiting),
        epoch=_whole(epoch) > 0,
        watching=_whole(watching) > 0,
        pulses=pulses_of(*(one if isinstance(one, dict) else {} for one in (tasks, workers, gateways))),
        rows=rows_of(pools[count] if isinstance(pools[count], dict) else {}),
        backlog={pool_id: _whole(length) for pool_id, length in zip(pool_ids, pools[:count], strict=True)},
        drifts=_found(pool_ids, pools[count + 1]),
    )


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int) else 0


def _found(pool_ids: Sequence[int], values: Any) -> dict[int, bytes]:
    if not pool_ids or isinstance(values, Exception):
        return {}
    return {pool_id: value for pool_id, value in zip(pool_ids, values, strict=True) if value is not None}


@lru_cache(maxsize=1)
def _migrations_there() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).disk_migrations)


def migrations_missing() -> list[str]:
    """Migrations of this version that the database has not had. Two queries."""
    applied = set(MigrationRecorder(connection).applied_migrations())
    return sorted(f"{app}.{name}" for app, name in _migrations_there() - applied)
