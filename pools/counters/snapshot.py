"""A pool's counters at one moment, as numpy arrays: what the tick, the pages and the drift check read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pools.mechanism.hot import WRAP, PoolHot

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PoolCounters:
    """n entitlements; row i of every array belongs to ``entitlement_ids[i]``. Whole numbers as float64 unless said.

    ``use`` (n, 3): (tokens reserved, kv bytes, sequences) now. ``peak`` (n, 2): kv bytes, sequences of the last 60 s.
    Running sums wrap at 2^52 and are read as differences of two snapshots with :meth:`since`.
    ``hot`` (n, H) and ``terms`` (n, T) are the raw fields in the order of records.ENTITLEMENT and records.TERMS.
    """

    pool_id: int
    at_ms: int
    pool: PoolHot
    entitlement_ids: Ints
    hot: Floats
    terms: Floats
    refused: Ints
    peak: Floats
    usage_backlog: int

    def column(self, name: str) -> Floats:
        """One field of all entitlements by its name in EntitlementHot or Terms."""
        raise NotImplementedError


def wrapped(new: Floats, old: Floats) -> Floats:
    """new − old of wrapping sums, elementwise, in −WRAP/2 … WRAP/2."""
    half = WRAP // 2
    return np.asarray((new - old + half) % WRAP - half, dtype=np.float64)
