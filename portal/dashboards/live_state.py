"""The live message of a pool (hot store ``tp:live:<pool_id>``), read into types. Pure; unreadable text is no state.

Amounts are (tokens/s, KV bytes, slots). ``at_ms`` is when the tick wrote it.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import nsmallest
from typing import Any, NamedTuple

import orjson

Triple = tuple[float, float, float]
STALE_MS = 5_000
LOST_MS = 30_000


class LiveRow(NamedTuple):
    """One entitlement. ``binds`` is the dimension or refusal code that holds it back, empty when nothing does."""

    entitlement_id: int
    tenant_id: int
    use: Triple
    limit: Triple
    cap: Triple
    base: Triple
    weight: float
    debt: float
    burst: float
    refused_per_minute: float
    binds: str
    state: str
    headroom: Triple
    demand: Triple = (0.0, 0.0, 0.0)


class LiveState(NamedTuple):
    """One pool and its entitlements as of ``at_ms``."""

    at_ms: int
    capacity: Triple
    promised: Triple
    use: Triple
    hold: Triple
    headroom: Triple
    contended: bool
    ready: int
    pending: int
    draining: int
    wanted: int
    need: float
    reason: str
    lag_ms: float
    refused: dict[str, int]
    sentence: str
    rows: dict[int, LiveRow]

    def age_ms(self, now_ms: int) -> int:
        """How old the state is."""
        return max(0, now_ms - self.at_ms)


def parse(text: bytes | str | None, only: Collection[int] | None = None) -> LiveState | None:
    """The state in a message; None for nothing, another version or broken text. ``only``: ids of the entitlements whose
    rows are wanted (a pool may have thousands); None: all."""
    if not text:
        return None
    try:
        data = orjson.loads(text)
        if data["v"] != 1:
            return None
        return _state(data, only)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError):
        return None


def most_used(text: bytes | str | None, dimension: int, count: int) -> list[int]:
    """Ids of the entitlements that use most of a dimension in a message, most first; equals by id."""
    try:
        rows = orjson.loads(text)["rows"] if text else []
        return [row[0] for row in nsmallest(count, rows, key=lambda row: (-row[2][dimension], row[0]))]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return []


def _state(data: dict[str, Any], only: Collection[int] | None) -> LiveState:
    pool = data["pool"]
    rows = [row_of(row) for row in data["rows"] if only is None or row[0] in only]
    return LiveState(
        int(data["at"]),
        _triple(pool["capacity"]),
        _triple(pool["promised"]),
        _triple(pool["use"]),
        _triple(pool["hold"]),
        _triple(pool["headroom"]),
        bool(pool["contended"]),
        int(pool["ready"]),
        int(pool["pending"]),
        int(pool.get("draining") or 0),
        int(pool["wanted"]),
        float(pool.get("need") or 0),
        str(pool.get("reason") or ""),
        float(pool.get("lag_ms") or 0),
        {str(code): int(count) for code, count in (pool.get("refused") or {}).items()},
        str(pool.get("sentence") or ""),
        {row.entitlement_id: row for row in rows},
    )


def row_of(row: list[Any]) -> LiveRow:
    """One row of a message."""
    return LiveRow(
        int(row[0]),
        int(row[1]),
        _triple(row[2]),
        _triple(row[3]),
        _triple(row[4]),
        _triple(row[5]),
        float(row[6]),
        float(row[7]),
        float(row[8]),
        float(row[9]),
        "" if row[10] is None else str(row[10]),
        str(row[11]),
        _triple(row[12]),
        _triple(row[13]) if len(row) > 13 else (0.0, 0.0, 0.0),
    )


def _triple(values: Any) -> Triple:
    tokens, kv_bytes, slots = values
    return float(tokens), float(kv_bytes), float(slots)
