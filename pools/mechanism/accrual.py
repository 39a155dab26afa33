"""What passes with time: buckets refill, use is integrated, recent peaks age, idle reserve is held back.

Called at the start of every deed on an entitlement or pool with the store's time. Changes its argument in place;
callers that must stay pure copy first. Source: Token Pools design, sections 4 to 6.
"""

from __future__ import annotations

from dataclasses import replace

from pools.mechanism.hot import (
    CLASS_DEDICATED,
    KV_UNIT,
    OFFER_TAG_BYTES,
    PEAK_SLICE_MS,
    PEAK_SLICES,
    STATE_BOUND,
    WRAP,
    EntitlementHot,
    PoolHot,
    Terms,
)

LONGEST_SPAN_MS = 1_000_000


def copy_entitlement(mine: EntitlementHot) -> EntitlementHot:
    """A copy that shares no list with the original."""
    return replace(mine, refused=list(mine.refused), slices=list(mine.slices))


def touch_entitlement(mine: EntitlementHot, terms: Terms, now_ms: int) -> None:
    """Refill to at most the bucket's size, integrate use and expected work, move the window of peaks.

    A bucket never touched starts full; a bucket above its size (the tick made it smaller) spills the excess. Time that
    runs backwards counts as none.
    """
    if mine.at_ms == 0:
        mine.at_ms = now_ms
        mine.bucket_micro = mine.minted_micro = terms.bucket_size_micro
        mine.peak_slice = now_ms // PEAK_SLICE_MS
        return
    missing = terms.bucket_size_micro - mine.bucket_micro
    if missing < 0:
        mine.bucket_micro += missing
        mine.spilled_micro -= missing
    elapsed = now_ms - mine.at_ms
    if elapsed <= 0:
        return
    mine.at_ms = now_ms
    if missing > 0:
        gain = min(missing, terms.refill_milli * elapsed)
        mine.bucket_micro += gain
        mine.minted_micro += gain
    span = min(elapsed, LONGEST_SPAN_MS)
    mine.integral_kv = (mine.integral_kv + mine.use_kv // KV_UNIT * span) % WRAP
    mine.integral_seats = (mine.integral_seats + mine.use_seats * span) % WRAP
    mine.work_micro = (mine.work_micro + mine.work_rate * elapsed) % WRAP
    present = now_ms // PEAK_SLICE_MS
    if present > mine.peak_slice:
        _rotate(mine, min(present - mine.peak_slice, PEAK_SLICES + 1))
        mine.peak_slice = present


def _rotate(mine: EntitlementHot, steps: int) -> None:
    newest = [(mine.use_kv, mine.use_seats)] * (steps - 1) + [(mine.current_kv, mine.current_seats)]
    mine.slices = (newest + mine.slices)[:PEAK_SLICES]
    mine.older_kv = max(kv for kv, _ in mine.slices)
    mine.older_seats = max(seats for _, seats in mine.slices)
    mine.current_kv, mine.current_seats = mine.use_kv, mine.use_seats


def touch_pool(pool: PoolHot, now_ms: int) -> None:
    """Integrate use up to now."""
    elapsed = now_ms - pool.at_ms
    if elapsed <= 0:
        return
    if pool.at_ms > 0:
        span = min(elapsed, LONGEST_SPAN_MS)
        pool.integral_kv = (pool.integral_kv + pool.use_kv // KV_UNIT * span) % WRAP
        pool.integral_seats = (pool.integral_seats + pool.use_seats * span) % WRAP
    pool.at_ms = now_ms


def take_offer(mine: EntitlementHot, tag: bytes, tokens: int) -> bool:
    """Count offered work unless this offer is among the last refused ones; True when it was new.

    Approximate: a tag is the id's last 8 bytes, and a refused offer is forgotten when ``OFFERS_KEPT`` others were
    refused after it.
    """
    position = mine.offers.find(tag)
    if position >= 0 and position % OFFER_TAG_BYTES == 0:
        return False
    mine.offered_tokens = (mine.offered_tokens + tokens) % WRAP
    return True


def offer_tag(offer_id: str) -> bytes:
    """Eight bytes that name an offer."""
    return offer_id.encode()[-OFFER_TAG_BYTES:].rjust(OFFER_TAG_BYTES, b"0")


def hold_of(mine: EntitlementHot, terms: Terms) -> tuple[int, int, int]:
    """(KV bytes, sequences, 1 if strict) held back from others for a bound rank-0 entitlement's idle reserve.

    Dedicated: all of it. Guaranteed: (1 − φ) x idle + φ x the part used within the last 60 s plus one sequence.
    """
    if terms.rank != 0 or terms.state != STATE_BOUND:
        return 0, 0, 0
    idle_kv = max(0, terms.base_kv - mine.use_kv)
    idle_seats = max(0, terms.base_seats - mine.use_seats)
    if terms.service_class == CLASS_DEDICATED:
        return idle_kv, idle_seats, 1
    peak_kv = max(mine.current_kv, mine.older_kv) + terms.sequence_kv
    peak_seats = max(mine.current_seats, mine.older_seats) + 1
    recent_kv = max(0, min(terms.base_kv, peak_kv) - mine.use_kv)
    recent_seats = max(0, min(terms.base_seats, peak_seats) - mine.use_seats)
    return (
        idle_kv - terms.lend_percent * (idle_kv - recent_kv) // 100,
        idle_seats - terms.lend_percent * (idle_seats - recent_seats) // 100,
        0,
    )


def rehold(pool: PoolHot, mine: EntitlementHot, terms: Terms) -> None:
    """Replace the entitlement's share of the pool's holds by its present one."""
    kv, seats, strict = hold_of(mine, terms)
    pool.hold_kv += kv - mine.hold_kv
    pool.hold_seats += seats - mine.hold_seats
    if mine.hold_strict:
        pool.strict_hold_kv -= mine.hold_kv
        pool.strict_hold_seats -= mine.hold_seats
    if strict:
        pool.strict_hold_kv += kv
        pool.strict_hold_seats += seats
    mine.hold_kv, mine.hold_seats, mine.hold_strict = kv, seats, strict
