"""Keep a :class:`TickState` between ticks: as bytes, and aligned when entitlements or pools come and go.

Source: Token Pools design.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pools.mechanism.ordering import Floats, Whole
from pools.mechanism.tick_types import TickState

_COLUMNS = ("debt", "burst", "demand", "since_refused_s", "window_used", "window_wanted")


@dataclass(frozen=True, slots=True)
class KeptState:
    """A state and whose it is: entitlement ids in row order, pool ids in pool order."""

    entitlement_ids: tuple[int, ...]
    pool_ids: tuple[int, ...]
    state: TickState


def pack(kept: KeptState) -> bytes:
    """The state as one numpy archive, about 80 bytes per entitlement."""
    columns = {name: getattr(kept.state, name) for name in (*_COLUMNS, "window_s")}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        entitlement_ids=np.asarray(kept.entitlement_ids, dtype=np.int64),
        pool_ids=np.asarray(kept.pool_ids, dtype=np.int64),
        rotation=np.asarray([kept.state.rotation]),
        **columns,
    )
    return buffer.getvalue()


def unpack(packed: bytes) -> KeptState:
    """What :func:`pack` kept. Raises ValueError for anything else."""
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as kept:
            columns = {name: kept[name] for name in (*_COLUMNS, "window_s")}
            state = TickState(**columns, rotation=int(kept["rotation"][0]))
            return KeptState(tuple(kept["entitlement_ids"].tolist()), tuple(kept["pool_ids"].tolist()), state)
    except (OSError, KeyError, EOFError, TypeError, ValueError, zipfile.BadZipFile) as broken:
        raise ValueError("these bytes are not a packed tick state") from broken


def align(kept: KeptState, entitlement_ids: Sequence[int], pool_ids: Sequence[int]) -> TickState:
    """The state in the order of these ids: known rows keep theirs, new ones start fresh, gone ones are dropped."""
    if tuple(entitlement_ids) == kept.entitlement_ids and tuple(pool_ids) == kept.pool_ids:
        return kept.state
    fresh = TickState.fresh(len(entitlement_ids), len(pool_ids))
    there = places(np.asarray(kept.entitlement_ids, dtype=np.int64), np.asarray(entitlement_ids, dtype=np.int64))
    moved = {name: carried(getattr(kept.state, name), getattr(fresh, name), there) for name in _COLUMNS}
    pools = places(np.asarray(kept.pool_ids, dtype=np.int64), np.asarray(pool_ids, dtype=np.int64))
    window_s = carried(kept.state.window_s, fresh.window_s, pools)
    return TickState(**moved, window_s=window_s, rotation=kept.state.rotation)


Places = tuple[Whole, np.ndarray[tuple[int], np.dtype[np.bool_]]]


def places(old_ids: Whole, new_ids: Whole) -> Places:
    """For each new id the row it had among the old ones, and whether it had one. Ids are distinct."""
    if not old_ids.size:
        return np.zeros(new_ids.size, dtype=np.int64), np.zeros(new_ids.size, dtype=np.bool_)
    order = np.argsort(old_ids, kind="stable")
    row = order[np.minimum(np.searchsorted(old_ids[order], new_ids), old_ids.size - 1)]
    return row, old_ids[row] == new_ids


def carried(old: Floats, fresh: Floats, there: Places) -> Floats:
    """``fresh`` with the rows of ``old`` where :func:`places` found them."""
    rows, known = there
    result = fresh.copy()
    result[known] = old[rows[known]]
    return result
