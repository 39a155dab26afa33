"""One sample of every entitlement in PostgreSQL's binary COPY format, laid out by numpy: no loop over rows.

A row is two bytes of field count, then per field its length and its value, most significant byte first. All rows are
equally long but those with refusals, whose JSON ends the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import orjson

from pools.choices import Refusal
from pools.mechanism.ordering import Floats, Whole

if TYPE_CHECKING:
    from pools.services.tick_decide import PoolResult

COLUMNS = (
    ("at", ">i8"),
    ("entitlement_id", ">i8"),
    ("pool_id", ">i8"),
    ("tenant_id", ">i8"),
    ("elapsed_s", ">f8"),
    ("use_tokens_per_second", ">f8"),
    ("use_kv_bytes", ">i8"),
    ("use_concurrency", ">f8"),
    ("limit_tokens_per_second", ">f8"),
    ("limit_kv_bytes", ">i8"),
    ("limit_concurrency", ">i4"),
    ("demand_tokens_per_second", ">f8"),
    ("weight", ">f8"),
    ("debt", ">f8"),
    ("burst", ">f8"),
    ("gap_tokens", ">f8"),
    ("admitted", ">i4"),
)
"""Of the table, with the types it has there; ``refused`` follows."""
ENTITLEMENT_COPY = (
    f"COPY pools_entitlementsample ({', '.join(name for name, _ in COLUMNS)}, refused) FROM STDIN (FORMAT binary)"
)
POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
HEADER, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
JSONB_VERSION = b"\x01"
EMPTY = JSONB_VERSION + b"{}"
_LENGTHS = [(f"{name}_bytes", ">i4") for name, _ in COLUMNS]
_LAYOUT = np.dtype(
    [("fields", ">i2")]
    + [part for pair in zip(_LENGTHS, COLUMNS, strict=True) for part in pair]
    + [("refused_bytes", ">i4"), ("refused", f"S{len(EMPTY)}")]
)
_REFUSED_AT = _LAYOUT.itemsize - 4 - len(EMPTY)
_TEMPLATE = np.zeros((), dtype=_LAYOUT)
_TEMPLATE["fields"] = len(COLUMNS) + 1
for _name, _kind in COLUMNS:
    _TEMPLATE[f"{_name}_bytes"] = np.dtype(_kind).itemsize
_TEMPLATE["refused_bytes"], _TEMPLATE["refused"] = len(EMPTY), EMPTY


def entitlement_rows(
    results: Sequence[PoolResult], refused: Whole, admitted: Whole, windows_s: Floats, at: datetime
) -> bytes:
    """Input of ``ENTITLEMENT_COPY``. E entitlements in the order of the results: ``refused`` [E,13] by reason,
    ``admitted`` [E]; ``windows_s`` [P] seconds the sample covers, per pool."""
    table = np.full(admitted.size, _TEMPLATE, dtype=_LAYOUT)
    counts = [one.terms.ids.size for one in results]
    window = np.repeat(windows_s, counts)
    table["at"] = (at - POSTGRES_EPOCH) // timedelta(microseconds=1)
    table["entitlement_id"] = np.concatenate([one.terms.ids for one in results])
    table["pool_id"] = np.repeat([one.terms.pool_id for one in results], counts)
    table["tenant_id"] = np.concatenate([one.terms.tenant_ids for one in results])
    table["elapsed_s"] = np.round(window, 3)
    table["admitted"] = admitted
    promised = np.concatenate([one.terms.base[:, 0] for one in results]) * window
    for members in _groups(results):
        _decided(table, members, promised)
    return _assembled(table, refused)


def counts_json(refused: Any) -> bytes:
    """{reason: count} of one row [13], reasons without a refusal left out."""
    return orjson.dumps({code.code: int(refused[code]) for code in Refusal if refused[code]})


def _groups(results: Sequence[PoolResult]) -> Iterable[list[PoolResult]]:
    """Pools that were decided in one call share their result arrays, and follow each other there."""
    groups: dict[int, list[PoolResult]] = {}
    for one in results:
        groups.setdefault(one.group_index, []).append(one)
    return groups.values()


def _decided(table: npt.NDArray[Any], members: list[PoolResult], promised: Floats) -> None:
    result = members[0].result
    rows = np.concatenate([np.arange(one.rows.start, one.rows.stop) for one in members])
    source = np.concatenate([np.arange(one.group_rows.start, one.group_rows.stop) for one in members])
    average, limit = result.explain.average[source], result.limit[source]
    table["use_tokens_per_second"][rows] = np.round(average[:, 0], 3)
    table["use_kv_bytes"][rows] = average[:, 1].astype(np.int64)
    table["use_concurrency"][rows] = np.round(average[:, 2], 3)
    table["limit_tokens_per_second"][rows] = np.round(result.refill[source], 3)
    table["limit_kv_bytes"][rows] = limit[:, 1].astype(np.int64)
    table["limit_concurrency"][rows] = limit[:, 2].astype(np.int64)
    table["demand_tokens_per_second"][rows] = np.round(result.demand[source, 0], 3)
    for name, values in (("weight", result.weight), ("debt", result.debt), ("burst", result.burst)):
        table[name][rows] = values[source]
    table["gap_tokens"][rows] = result.explain.gap[source] * promised[rows]


def _assembled(table: npt.NDArray[Any], refused: Whole) -> bytes:
    raw, size = memoryview(table.tobytes()), _LAYOUT.itemsize
    parts: list[bytes | memoryview] = [HEADER]
    done = 0
    for row in np.flatnonzero(refused.any(axis=1)).tolist():
        body = JSONB_VERSION + counts_json(refused[row])
        parts += [raw[done : row * size + _REFUSED_AT], len(body).to_bytes(4, "big"), body]
        done = (row + 1) * size
    return b"".join([*parts, raw[done:], TRAILER])
