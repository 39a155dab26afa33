"""A pool's counters at one moment, as numpy arrays: what the tick, the pages and the drift check read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pools.counters import records
from pools.mechanism.hot import KV_UNIT, PEAK_SLICES, REFUSAL_SLOTS, WRAP, PoolHot

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_WIDTH = records.ENTITLEMENT_BYTES // 8
_HOT = len(records.ENTITLEMENT)
_TERMS = len(records.TERMS)
_COLUMN = {name: index for index, name in enumerate(records.ENTITLEMENT)}
_TERM = {name: index for index, name in enumerate(records.TERMS)}


@dataclass(frozen=True, slots=True)
class Measured:
    """What happened between two snapshots; row i belongs to ``entitlement_ids[i]`` of the newer one.

    ``used`` (n, 3): tokens of work done, KV byte-seconds, sequence-seconds; a correction at a settlement may make a
    row of work negative for one interval. ``offered_tokens`` (n,), ``admitted`` (n,), ``refused`` (n, 13) by refusal
    number.
    """

    elapsed_s: float
    used: Floats
    offered_tokens: Floats
    admitted: Floats
    refused: Floats


@dataclass(frozen=True, slots=True)
class PoolCounters:
    """n entitlements; row i of every array belongs to ``entitlement_ids[i]``. Whole numbers kept in float64.

    ``hot`` (n, H) and ``terms`` (n, T) hold the fields of EntitlementHot and Terms in the order of
    records.ENTITLEMENT and records.TERMS (:meth:`column` finds one by name); ``refused`` (n, 13) counts by refusal
    number; ``slices`` (n, 10) are older peaks. An entitlement that was never used has a row of zeros and a full
    bucket; one that is not configured has ``known`` false. Where terms were not read, ``terms`` is (n, 0), asking for
    one is an IndexError, and buckets are those of the hot records alone.
    """

    pool_id: int
    at_ms: int
    pool: PoolHot
    entitlement_ids: Ints
    known: npt.NDArray[np.bool_]
    hot: Floats
    terms: Floats
    refused: Floats
    usage_backlog: int

    def column(self, name: str) -> Floats:
        """One field of all entitlements by its name in EntitlementHot or Terms; raises KeyError for another."""
        if name in _COLUMN:
            return self.hot[:, _COLUMN[name]]
        return self.terms[:, _TERM[name]]

    @property
    def in_flight(self) -> Floats:
        """(n, 3): tokens reserved, KV bytes, sequences now."""
        return np.stack([self.column(name) for name in ("reserved_tokens", "use_kv", "use_seats")], axis=1)

    @property
    def peak(self) -> Floats:
        """(n, 3): 0, KV bytes and sequences at most in use within the last 60 s (or now)."""
        window_ms = 10_000 * (PEAK_SLICES + 1)
        recent = self.at_ms - self.column("at_ms") < window_ms
        kv = np.maximum(self.column("older_kv"), self.column("current_kv")) * recent
        seats = np.maximum(self.column("older_seats"), self.column("current_seats")) * recent
        zero = np.zeros(len(kv))
        return np.stack(
            [zero, np.maximum(kv, self.column("use_kv")), np.maximum(seats, self.column("use_seats"))], axis=1
        )

    @property
    def bucket_tokens(self) -> Floats:
        """(n,) tokens in each bucket now, refilled up to this moment."""
        elapsed = np.maximum(0.0, self.at_ms - self.column("at_ms"))
        bucket = self.column("bucket_micro") + elapsed * self.column("refill_milli")
        return np.asarray(np.minimum(bucket, self.column("bucket_size_micro")) / 1e6, dtype=np.float64)

    def _sum_now(self, name: str, rate: Floats) -> Floats:
        """A running sum carried on to this moment; 0 stays 0 for an entitlement never touched."""
        elapsed = np.maximum(0.0, self.at_ms - self.column("at_ms")) * (self.column("at_ms") > 0)
        return np.asarray(self.column(name) + elapsed * rate, dtype=np.float64)

    def since(self, older: PoolCounters) -> Measured:
        """Differences to an older snapshot of the same pool; an entitlement it did not have counts from zero."""
        now = self.sums()
        before = np.zeros_like(now)
        refused = np.zeros_like(self.refused)
        places = {int(key): row for row, key in enumerate(older.entitlement_ids)}
        rows = np.array([places.get(int(key), -1) for key in self.entitlement_ids], dtype=np.int64)
        had = rows >= 0
        before[had], refused[had] = older.sums()[rows[had]], older.refused[rows[had]]
        changed = wrapped(now, before)
        used = changed[:, :3] * np.array([1e-6, KV_UNIT / 1000.0, 1e-3])
        return Measured(
            elapsed_s=(self.at_ms - older.at_ms) / 1000.0,
            used=used,
            offered_tokens=changed[:, 3],
            admitted=changed[:, 4],
            refused=self.refused - refused,
        )

    def sums(self) -> Floats:
        """(n, 5) running sums carried on to this moment, wrapping: work micro-tokens, KV units x ms, sequences x ms,
        tokens offered, requests admitted. Differences are :meth:`since` or :func:`wrapped`."""
        return np.stack(
            [
                self._sum_now("work_micro", self.column("work_rate")),
                self._sum_now("integral_kv", np.floor(self.column("use_kv") / KV_UNIT)),
                self._sum_now("integral_seats", self.column("use_seats")),
                self.column("offered_tokens"),
                self.column("admitted"),
            ],
            axis=1,
        )


def wrapped(new: Floats, old: Floats) -> Floats:
    """new − old of wrapping sums, elementwise, in −WRAP/2 … WRAP/2."""
    half = WRAP // 2
    return np.asarray((new - old + half) % WRAP - half, dtype=np.float64)


def assemble(
    pool_id: int,
    at_ms: int,
    pool: PoolHot,
    ids: Ints,
    hot: Sequence[bytes | None],
    terms: Sequence[bytes | None] | None,
    usage_backlog: int,
) -> PoolCounters:
    """Arrays from packed records, without a loop over fields; ``terms`` None: they were not read."""
    count = len(ids)
    no_terms, no_hot = b"\0" * (8 * _TERMS), b"\0" * records.ENTITLEMENT_BYTES
    all_hot = np.frombuffer(b"".join([raw or no_hot for raw in hot]), dtype="<f8").reshape(count, _WIDTH)
    own = all_hot[:, :_HOT].copy()
    known = np.array([raw is not None for raw in (hot if terms is None else terms)], dtype=np.bool_).reshape(count)
    terms_array = np.zeros((count, 0))
    if terms is not None:
        packed = b"".join([raw or no_terms for raw in terms])
        terms_array = np.frombuffer(packed, dtype="<f8").reshape(count, _TERMS).copy()
        untouched = own[:, _COLUMN["at_ms"]] == 0
        size = terms_array[:, _TERM["bucket_size_micro"]]
        for name in ("bucket_micro", "minted_micro"):
            own[untouched, _COLUMN[name]] = size[untouched]
    return PoolCounters(
        pool_id=pool_id,
        at_ms=at_ms,
        pool=pool,
        entitlement_ids=ids,
        known=known,
        hot=own,
        terms=terms_array,
        refused=all_hot[:, _HOT : _HOT + REFUSAL_SLOTS].copy(),
        usage_backlog=usage_backlog,
    )
