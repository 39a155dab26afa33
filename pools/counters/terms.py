"""From the control plane's configurations to the packed fields the function library works on."""

from __future__ import annotations

import struct

import numpy as np

from pools.choices import CLASS_RULES, ServiceClass
from pools.counters import records
from pools.counters.types import CLASSES, STATES, EntitlementCounterConfig, PoolCounterConfig, TickWrite
from pools.mechanism.hot import Terms

CONTENDED_PERCENT = 6
MICRO = 1_000_000


def terms_of(config: EntitlementCounterConfig) -> Terms:
    """The stored terms; a sequence's KV share is base (or cap) KV per base (or cap) sequence."""
    share = config.base if config.base.concurrency > 0 else config.cap
    return Terms(
        state=STATES.index(config.state),
        service_class=CLASSES.index(config.service_class),
        cap_kv=config.cap.kv_bytes,
        cap_seats=config.cap.concurrency,
        base_kv=config.base.kv_bytes if CLASS_RULES[config.service_class].rank == 0 else 0,
        base_seats=config.base.concurrency if CLASS_RULES[config.service_class].rank == 0 else 0,
        lend_percent=0 if config.service_class is ServiceClass.DEDICATED else config.lend_percent,
        sequence_kv=share.kv_bytes // max(1, share.concurrency),
        valid_until_ms=config.valid_until_ms,
        refill_milli=config.limit.tokens_per_second * 1000,
        bucket_size_micro=config.bucket_tokens * MICRO,
        limit_kv=config.limit.kv_bytes,
        limit_seats=config.limit.concurrency,
        weight_micro=round(config.weight * MICRO),
    )


def pack_configuration(config: EntitlementCounterConfig) -> bytes:
    """The argument of tp_configure. Raises ValueError for a share outside 0 to 100 or a negative number."""
    if not 0 <= config.lend_percent <= 100 or config.bucket_tokens < 0 or config.weight < 0:
        raise ValueError(f"lend_percent is 0 to 100, bucket_tokens and weight are not negative: {config}")
    return struct.pack("<Bd", config.force_limits, config.entitlement_id) + records.pack_terms(terms_of(config))


def pack_capacity(config: PoolCounterConfig) -> bytes:
    """The capacity fields of a pool record, then a first guess of the mean service time in microseconds."""
    kv, seats = config.capacity.kv_bytes, config.capacity.concurrency
    margin_kv, margin_seats = config.margin_kv_bytes, config.margin_concurrency
    if margin_seats is None:
        margin_seats = max(1, -(-seats * CONTENDED_PERCENT // 100))
    if margin_kv is None:
        margin_kv = max(kv // seats if seats else 0, -(-kv * CONTENDED_PERCENT // 100))
    fields = {
        "capacity_kv": kv,
        "capacity_seats": seats,
        "ready_replicas": config.ready_replicas,
        "margin_kv": margin_kv,
        "margin_seats": margin_seats,
        "draining_kv": config.draining.kv_bytes,
        "draining_seats": config.draining.concurrency,
        "capacity_version": config.capacity_version,
        "next_tick_ms": config.next_tick_at_ms,
        "mode": 0,
    }
    values = [fields[name] for name in records.POOL_CAPACITY]
    return struct.pack(f"<{len(values) + 1}d", *values, config.mean_service_ms * 1000)


def tick_rows(tick: TickWrite) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(n, 6): entitlement id and the limit fields of its terms as whole numbers. Raises ValueError on NaN or
    negative."""
    rows = np.stack(
        [
            np.asarray(tick.entitlement_ids, dtype="<f8"),
            np.rint(np.asarray(tick.limit_tokens_per_second, dtype="<f8") * 1000.0),
            np.floor(np.asarray(tick.bucket_tokens, dtype="<f8")) * MICRO,
            np.floor(np.asarray(tick.limit_kv_bytes, dtype="<f8")),
            np.floor(np.asarray(tick.limit_concurrency, dtype="<f8")),
            np.rint(np.asarray(tick.weights, dtype="<f8") * MICRO),
        ],
        axis=1,
    )
    if not np.all(np.isfinite(rows)) or np.any(rows < 0) or np.any(rows > 2**52):
        raise ValueError("a tick writes finite numbers that are not negative")
    return rows
