"""From what every part told to what the System page says: lines, states, and the list of what needs a look. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from portal.dashboards.system_reads import Store
from portal.lib.pulse import GATEWAY_GONE_MS, Ran

INTERVAL_MS = 1000
LATE_MS, VERY_LATE_MS = 3_000, 30_000
WORKER_GONE_MS = 30_000
LONGEST_QUEUE = 50
LONG_BACKLOG = 10_000
LONG_STATEMENT_S = 60


class TickLine(NamedTuple):
    """One pool: how its tick, its usage stream and its counters stand. ``drift`` None: not measured of late."""

    pool_id: int
    slug: str
    shard: int
    age_ms: int | None
    lag_ms: float | None
    state: str
    backlog: int
    drift: int | None


class BeatLine(NamedTuple):
    """One line of the beat table. ``age_ms`` None: it never ran since the store was made."""

    name: str
    every_s: float
    why: str
    age_ms: int | None
    took_ms: int | None
    state: str


class LifeLine(NamedTuple):
    """A worker or a gateway."""

    name: str
    age_ms: int
    state: str
    told: Mapping[str, Any]


def tick_lines(pools: Sequence[tuple[int, str]], found: Store, now_ms: int, shards: int) -> list[TickLine]:
    """Every pool, the latest ones first, then by name."""
    lines = []
    for pool_id, slug in pools:
        row = found.rows.get(pool_id)
        age = max(0, now_ms - row.at) if row is not None else None
        lag = float(max(row.lag_ms, age - INTERVAL_MS)) if row is not None and age is not None else None
        word = "down" if lag is None or lag >= VERY_LATE_MS else "late" if lag >= LATE_MS else "ok"
        told = found.drifts.get(pool_id)
        drift = int(orjson.loads(told)["sequences"]) if told else None
        lines.append(TickLine(pool_id, slug, pool_id % shards, age, lag, word, found.backlog.get(pool_id, 0), drift))
    order = {"down": 0, "late": 1, "ok": 2}
    return sorted(lines, key=lambda line: (order[line.state], not line.drift, line.slug))


def beat_lines(
    schedule: Mapping[str, Mapping[str, Any]], reasons: Mapping[str, str], ran: Mapping[str, Ran], now_ms: int
) -> list[BeatLine]:
    """Every scheduled task, those that are late first. Late: three periods, half a minute at least."""
    lines = []
    for name, entry in schedule.items():
        last, every_s = ran.get(name), float(entry["schedule"])
        age = max(0, now_ms - last.at_ms) if last is not None else None
        late = age is not None and age > max(3 * every_s, 30) * 1000
        state = "waiting" if last is None else "failed" if not last.ok else "late" if late else "ok"
        took = last.took_ms if last is not None else None
        lines.append(BeatLine(name, every_s, reasons.get(str(entry["task"]), ""), age, took, state))
    order = {"failed": 0, "late": 1, "waiting": 2, "ok": 3}
    return sorted(lines, key=lambda line: (order[line.state], line.every_s, line.name))


def life_lines(found: Store, now_ms: int) -> tuple[list[LifeLine], list[LifeLine]]:
    """Workers and gateways, each alive or silent; those silent for long are left out."""
    sides = []
    for rows, gone_ms in ((found.pulses.workers, WORKER_GONE_MS), (found.pulses.gateways, GATEWAY_GONE_MS)):
        lines = [
            LifeLine(one.name, max(0, now_ms - one.at_ms), "ok" if now_ms - one.at_ms < gone_ms else "down", one.told)
            for one in rows
        ]
        living = [line for line in lines if line.state == "ok"]
        recent = [line for line in lines if line.state != "ok" and line.age_ms < 20 * gone_ms]
        sides.append([*living, *recent])
    return sides[0], sides[1]


def store_troubles(found: Store | str) -> list[str]:
    """What is wrong with the hot store and what lives in it."""
    if isinstance(found, str):
        return [f"The hot store is away. {found} Each tier's fail mode decides about requests until it is back."]
    troubles = []
    if not found.epoch:
        troubles.append("The hot store lost its documents; the worker rebuilds them from the books.")
    if found.most_memory and found.policy != "noeviction":
        troubles.append(f"The hot store may throw counters away: maxmemory-policy is {found.policy}, not noeviction.")
    if found.most_memory and found.memory > 0.9 * found.most_memory:
        troubles.append("The hot store is nearly full.")
    if found.samples_waiting:
        troubles.append(f"{found.samples_waiting:,} batches of samples wait: the books could not be written.")
    long = [f"{name} ({length:,})" for name, length in found.queues.items() if length > LONGEST_QUEUE]
    if long:
        troubles.append(f"Tasks pile up in {', '.join(long)}: more workers are needed, or one hangs.")
    behind = sum(found.backlog.values())
    if behind > LONG_BACKLOG:
        troubles.append(f"{behind:,} usage events wait to be stored.")
    return troubles


def run_troubles(
    beats: Sequence[BeatLine], workers: Sequence[LifeLine], gateways: Sequence[LifeLine], ticks: Sequence[TickLine]
) -> list[str]:
    """What is wrong with beat, workers, gateways and ticks."""
    troubles = []
    if not any(line.state == "ok" for line in workers):
        troubles.append("No worker has run a task in the last half minute: limits stay as they are.")
    elif beats and all(line.state in {"late", "waiting"} for line in beats):
        troubles.append("Beat sends nothing.")
    else:
        late = [line.name.rpartition(".")[2] for line in beats if line.state in {"late", "failed"}]
        if late:
            troubles.append(f"Late or failed: {', '.join(late[:5])}{' and more' if len(late) > 5 else ''}.")
    if not any(line.state == "ok" for line in gateways):
        troubles.append("No gateway says that it serves.")
    versions = sorted({str(line.told.get("version", "?")) for line in gateways if line.state == "ok"})
    if len(versions) > 1:
        troubles.append(f"Gateways of several versions serve: {', '.join(versions)}.")
    slow = [line.slug for line in ticks if line.state != "ok"]
    if slow:
        troubles.append(f"The tick is late in {len(slow)} of {len(ticks)} pools: {', '.join(slow[:4])}.")
    drifting = [line.slug for line in ticks if line.drift]
    if drifting:
        troubles.append(f"Counters differ from the live reservations in {', '.join(drifting[:4])}; count anew below.")
    return troubles


def sentence(troubles: Sequence[str]) -> str:
    """What the page was opened for."""
    if not troubles:
        return "Everything answers and is on time."
    return "One thing needs a look." if len(troubles) == 1 else f"{len(troubles)} things need a look."
