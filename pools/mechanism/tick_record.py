"""Everything one tick was given about one pool, as bytes: whoever asks later computes the very same answer again.

A weight or a limit can be questioned after the fact only if its inputs are still there. The tick is pure, so its input
is enough: every term, stage and what-if follows from it. About 300 bytes an entitlement. Source: Token Pools design.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pools.mechanism.ordering import Floats, WeightFactors, Whole
from pools.mechanism.tick_types import EntitlementColumns, PoolColumns, TickInput, TickSettings, TickState

VERSION = 1
COLUMNS = (
    ("service_class", 1),
    ("state", 1),
    ("class_weight", 1),
    ("base", 3),
    ("cap", 3),
    ("lendable", 1),
    ("slo_ms", 1),
    ("largest_cost_tokens", 1),
    ("in_flight", 3),
    ("recent_peak", 3),
    ("used", 3),
    ("offered_tokens", 1),
    ("refused", 1),
    ("mean_cost_tokens", 1),
    ("work_ratio", 1),
    ("mean_kv_bytes", 1),
    ("mean_service_s", 1),
)
STATE = (("debt", 1), ("burst", 1), ("demand", 3), ("since_refused_s", 1), ("window_used", 3), ("window_wanted", 1))
WIDTH = 1 + sum(width for _, width in (*COLUMNS, *STATE))
WHOLE = ("service_class", "state")


@dataclass(frozen=True, slots=True)
class TickRecord:
    """One pool at one tick: ``given`` has that pool alone, its rows are the entitlements ``ids`` [E]."""

    pool_id: int
    at_ms: int
    ids: Whole
    given: TickInput


def pack(given: TickInput, pool: int, rows: slice, ids: Whole, pool_id: int, at_ms: int) -> bytes:
    """One pool of a shard's input: ``pool`` its index there, ``rows`` its rows, ``ids`` its entitlements."""
    head = {
        "v": VERSION,
        "pool_id": pool_id,
        "at_ms": at_ms,
        "elapsed_s": float(np.broadcast_to(np.asarray(given.elapsed_s), given.state.window_s.shape)[pool]),
        "debt_step": given.debt_step,
        "window_s": float(given.state.window_s[pool]),
        "rotation": given.state.rotation,
        "capacity": given.pools.capacity[pool].tolist(),
        "sequence_kv_bytes": float(given.pools.sequence_kv_bytes[pool]),
        "mean_service_s": float(given.pools.mean_service_s[pool]),
        "settings": asdict(given.settings),
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    return len(text).to_bytes(4, "big") + text + _table(given, rows, ids).tobytes()


def _table(given: TickInput, rows: slice, ids: Whole) -> Floats:
    """One line of numbers per entitlement: [E, WIDTH]."""
    table = np.empty((ids.size, WIDTH))
    table[:, 0] = ids
    at = 1
    for holder, columns in ((given.entitlements, COLUMNS), (given.state, STATE)):
        for name, width in columns:
            values = getattr(holder, name)[rows]
            table[:, at : at + width] = values if width == 3 else values[:, None]
            at += width
    return table


def unpack(packed: bytes) -> TickRecord:
    """What :func:`pack` kept. Raises ValueError for anything else, or a record of another make."""
    try:
        end = 4 + int.from_bytes(packed[:4], "big")
        head: dict[str, Any] = json.loads(packed[4:end])
        if head["v"] != VERSION:
            raise ValueError(f"this is a record of version {head['v']}, not {VERSION}")
        table = np.frombuffer(packed[end:], dtype=np.float64).reshape(-1, WIDTH)
        return TickRecord(head["pool_id"], head["at_ms"], table[:, 0].astype(np.int64), _input(head, table))
    except (KeyError, TypeError, UnicodeDecodeError, ValueError) as broken:
        raise ValueError("these bytes are not a tick record") from broken


def _input(head: dict[str, Any], table: Floats) -> TickInput:
    found: dict[str, Any] = {}
    at = 1
    for name, width in (*COLUMNS, *STATE):
        part = table[:, at : at + width]
        found[name] = (part if width == 3 else part[:, 0]).astype(np.int64 if name in WHOLE else np.float64)
        at += width
    count = table.shape[0]
    factors = WeightFactors(**head["settings"].pop("factors"))
    return TickInput(
        entitlements=EntitlementColumns(
            pool=np.zeros(count, dtype=np.int64), **{name: found[name] for name, _ in COLUMNS}
        ),
        pools=PoolColumns(
            np.array([head["capacity"]], dtype=np.float64),
            np.array([head["sequence_kv_bytes"]]),
            np.array([head["mean_service_s"]]),
        ),
        state=TickState(
            **{name: found[name] for name, _ in STATE},
            window_s=np.array([head["window_s"]]),
            rotation=head["rotation"],
        ),
        elapsed_s=np.array([head["elapsed_s"]]),
        debt_step=head["debt_step"],
        settings=TickSettings(**head["settings"], factors=factors),
    )
