"""Signs of life in the hot store: which task ran when, which worker ran one last, which gateways serve.

Written beside the work and never in its way: a store that is away costs a sign of life, nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson
import redis

TASKS_KEY, WORKERS_KEY, GATEWAYS_KEY = "tp:pulse:tasks", "tp:pulse:workers", "tp:pulse:gateways"
FORGET_MS = 24 * 3600 * 1000
"""Who gave no sign for a day is dropped."""
GATEWAY_EVERY_S = 10.0
GATEWAY_GONE_MS = 45_000


@dataclass(frozen=True, slots=True)
class Ran:
    """The last run of one line of the beat table."""

    name: str
    at_ms: int
    took_ms: int
    ok: bool
    worker: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker or a gateway and what it last told."""

    name: str
    at_ms: int
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pulses:
    """Everything that lives, by name."""

    tasks: dict[str, Ran]
    workers: list[Seen]
    gateways: list[Seen]


def task_ran(store: redis.Redis, ran: Ran) -> None:
    """Notes a run and its worker; a store that is away is not worth a word here."""
    document = {"at": ran.at_ms, "ms": ran.took_ms, "ok": ran.ok, "worker": ran.worker}
    with contextlib.suppress(redis.RedisError):
        pipe = store.pipeline(transaction=False)
        pipe.hset(TASKS_KEY, ran.name, orjson.dumps(document).decode())
        pipe.hset(WORKERS_KEY, ran.worker, orjson.dumps({"at": ran.at_ms, "task": ran.name}).decode())
        pipe.execute()


def pulses_of(tasks: Mapping[bytes, bytes], workers: Mapping[bytes, bytes], gateways: Mapping[bytes, bytes]) -> Pulses:
    """From the three hashes as the store gives them; broken entries are left out."""
    ran = {}
    for name, told in _documents(tasks).items():
        ran[name] = Ran(
            name, int(told["at"]), int(told.get("ms", 0)), bool(told.get("ok")), str(told.get("worker", ""))
        )
    return Pulses(ran, *(_seen(rows) for rows in (workers, gateways)))


def _seen(rows: Mapping[bytes, bytes]) -> list[Seen]:
    found = [Seen(name, int(told["at"]), told) for name, told in _documents(rows).items()]
    return sorted(found, key=lambda one: one.name)


def _documents(rows: Mapping[bytes, bytes]) -> dict[str, dict[str, Any]]:
    found = {}
    for name, text in rows.items():
        with contextlib.suppress(orjson.JSONDecodeError, UnicodeDecodeError):
            told = orjson.loads(text)
            if isinstance(told, dict) and isinstance(told.get("at"), int):
                found[name.decode()] = told
    return found


def pulses_forget(store: redis.Redis, pulses: Pulses, now_ms: int) -> None:
    """Drops workers and gateways that have been silent for a day."""
    for key, rows in ((WORKERS_KEY, pulses.workers), (GATEWAYS_KEY, pulses.gateways)):
        gone = [one.name for one in rows if now_ms - one.at_ms > FORGET_MS]
        if gone:
            cast(Any, store).hdel(key, *gone)
