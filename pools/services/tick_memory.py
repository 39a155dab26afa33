"""What one tick of a shard leaves for the next, in the hot store: the mechanism's state and the counters' sums then.

Lost with the store's data, it starts again from the books: sums from the next snapshot, debts from the latest samples.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from pools.choices import REFUSAL_RULES, Refusal
from pools.counters.snapshot import PoolCounters, wrapped
from pools.mechanism.hot import KV_UNIT, MICRO, REFUSAL_SLOTS
from pools.mechanism.ordering import Floats, Whole
from pools.mechanism.tick_state import KeptState, carried, pack, places, unpack
from pools.mechanism.tick_types import TickState

SUMS = ("work_micro", "integral_kv", "integral_seats", "offered_tokens")
"""Wrapping sums of the counters."""
TRANSIENT = np.array(
    [code in list(Refusal) and REFUSAL_RULES[Refusal(code)].transient for code in range(REFUSAL_SLOTS)]
)
MEAN_KEPT = 0.8
SMALLEST_RATIO, LARGEST_RATIO = 0.02, 2.0


@dataclass(frozen=True, slots=True)
class Sums:
    """E entitlements and P pools: counters as they stood at the last tick and at the last sample, typical requests.

    ``sums`` [E,4] in the order of ``SUMS``; ``refused``, ``sampled_refused`` [E,13] by reason; ``admitted``,
    ``sampled_admitted`` [E]; ``means`` [E,2] tokens and KV bytes reserved per sequence; ``written`` [E,5] the limits
    last written, NaN where none were; ``at_ms``, ``sampled_ms`` [P].
    """

    ids: Whole
    pool_ids: Whole
    at_ms: Floats
    sampled_ms: Floats
    sums: Floats
    refused: Floats
    admitted: Floats
    means: Floats
    written: Floats
    sampled_refused: Floats
    sampled_admitted: Floats


_PER_POOL = frozenset({"pool_ids", "at_ms", "sampled_ms"})


@dataclass(frozen=True, slots=True)
class Memory:
    """Both halves."""

    kept: KeptState
    sums: Sums

    def packed(self) -> tuple[bytes, bytes]:
        """As bytes for the hot store."""
        buffer = io.BytesIO()
        np.savez(buffer, **{item.name: getattr(self.sums, item.name) for item in fields(Sums)})
        return pack(self.kept), buffer.getvalue()

    @classmethod
    def unpacked(cls, kept: bytes | None, sums: bytes | None) -> Memory | None:
        """From bytes; None when either is missing or of another make (it is rebuilt then)."""
        if not kept or not sums:
            return None
        try:
            with np.load(io.BytesIO(sums), allow_pickle=False) as found:
                return cls(unpack(kept), Sums(**{item.name: found[item.name] for item in fields(Sums)}))
        except (ValueError, KeyError, OSError, EOFError):
            return None


@dataclass(frozen=True, slots=True)
class Seen:
    """The shard's counters now, rows in tick order. Shapes as in :class:`Sums`; ``in_flight`` [E,3], ``peak`` [E,3],
    ``mean_charge`` [E] tokens, ``mean_service_s`` [E], ``pool_use`` [P,2] bytes and sequences, ``contended`` [P]."""

    ids: Whole
    pool_ids: Whole
    at_ms: Floats
    sums: Floats
    refused: Floats
    admitted: Floats
    in_flight: Floats
    peak: Floats
    mean_charge: Floats
    mean_service_s: Floats
    contended: Floats


def see(snapshots: list[PoolCounters], wanted: list[Whole]) -> Seen:
    """Rows of the snapshots for the wanted entitlements, pool by pool; every wanted id must be in its snapshot."""
    parts: list[dict[str, Floats]] = []
    for snapshot, ids in zip(snapshots, wanted, strict=True):
        order = np.argsort(snapshot.entitlement_ids, kind="stable")
        rows = order[np.searchsorted(snapshot.entitlement_ids[order], ids)] if ids.size else np.zeros(0, dtype=np.int64)
        running = snapshot.sums()[rows]
        parts.append(
            {
                "sums": running[:, : len(SUMS)],
                "refused": snapshot.refused[rows],
                "admitted": running[:, len(SUMS)],
                "in_flight": snapshot.in_flight[rows],
                "peak": snapshot.peak[rows],
                "mean_charge": snapshot.column("mean_charge_micro")[rows] / MICRO,
                "mean_service_s": snapshot.column("mean_service_us")[rows] / 1e6,
            }
        )
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Seen(
        ids=np.concatenate(wanted),
        pool_ids=np.array([snapshot.pool_id for snapshot in snapshots], dtype=np.int64),
        at_ms=np.array([snapshot.at_ms for snapshot in snapshots], dtype=float),
        contended=np.array([snapshot.pool.contended for snapshot in snapshots], dtype=float),
        **joined,
    )


@dataclass(frozen=True, slots=True)
class Change:
    """What happened between two looks: ``used`` [E,3] tokens, byte-seconds, sequence-seconds; ``offered`` [E] tokens;
    ``refused`` [E,13]; ``admitted`` [E]; ``elapsed_s`` [P]; ``means`` [E,2] and ``work_ratio`` [E] typical requests.
    ``sums`` [E,4] is where the next look counts from: work put right downwards by a settlement is taken off later."""

    used: Floats
    sums: Floats
    offered: Floats
    refused: Floats
    admitted: Floats
    elapsed_s: Floats
    means: Floats
    work_ratio: Floats


def change(before: Sums, seen: Seen, smallest_s: float = 0.05) -> Change:
    """Differences of the sums. ``before`` must be aligned with ``seen`` (:func:`aligned`)."""
    moved = wrapped(seen.sums, before.sums)
    used = np.stack(
        [
            np.maximum(0.0, moved[:, 0] / MICRO),
            np.maximum(0.0, moved[:, 1]) * KV_UNIT / 1000.0,
            np.maximum(0.0, moved[:, 2]) / 1000.0,
        ],
        axis=1,
    )
    seats = seen.in_flight[:, 2]
    now = np.divide(seen.in_flight[:, :2], seats[:, None], out=before.means.copy(), where=seats[:, None] > 0)
    known = before.means > 0
    means = np.where(known & (now > 0), MEAN_KEPT * before.means + (1 - MEAN_KEPT) * now, now)
    ratio = np.divide(
        seen.mean_charge, means[:, 0], out=np.ones(seats.size), where=(means[:, 0] > 0) & (seen.mean_charge > 0)
    )
    return Change(
        used=used,
        sums=np.where(moved < 0, before.sums, seen.sums),
        offered=np.maximum(0.0, moved[:, 3]),
        refused=np.maximum(0.0, seen.refused - before.refused),
        admitted=np.maximum(0.0, seen.admitted - before.admitted),
        elapsed_s=np.maximum(smallest_s, (seen.at_ms - before.at_ms) / 1000.0),
        means=means,
        work_ratio=np.clip(ratio, SMALLEST_RATIO, LARGEST_RATIO),
    )


def aligned(before: Sums | None, seen: Seen, interval_ms: float) -> Sums:
    """The old sums in the order of ``seen``; a row or pool never seen before starts with what is seen now."""
    fresh = Sums(
        ids=seen.ids,
        pool_ids=seen.pool_ids,
        at_ms=seen.at_ms - interval_ms,
        sampled_ms=seen.at_ms - interval_ms,
        sums=seen.sums,
        refused=seen.refused,
        admitted=seen.admitted,
        means=np.zeros((seen.ids.size, 2)),
        written=np.full((seen.ids.size, 5), np.nan),
        sampled_refused=seen.refused,
        sampled_admitted=seen.admitted,
    )
    if before is None:
        return fresh
    if np.array_equal(before.ids, seen.ids) and np.array_equal(before.pool_ids, seen.pool_ids):
        return before
    rows, pools = places(before.ids, seen.ids), places(before.pool_ids, seen.pool_ids)
    changes: dict[str, Any] = {
        item.name: carried(
            getattr(before, item.name), getattr(fresh, item.name), pools if item.name in _PER_POOL else rows
        )
        for item in fields(Sums)
        if item.name not in ("ids", "pool_ids")
    }
    return replace(fresh, **changes)


def joined(parts: list[KeptState]) -> KeptState:
    """One state of several groups of pools."""
    if len(parts) == 1:
        return parts[0]
    names = ("debt", "burst", "demand", "since_refused_s", "window_used", "window_wanted", "window_s")
    columns = {name: np.concatenate([getattr(part.state, name) for part in parts]) for name in names}
    return KeptState(
        tuple(identity for part in parts for identity in part.entitlement_ids),
        tuple(identity for part in parts for identity in part.pool_ids),
        TickState(**columns, rotation=max(part.state.rotation for part in parts)),
    )
