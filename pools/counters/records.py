"""How the records look on the wire: the one place that knows the packed layouts, for Python and the function library.

State records are runs of little-endian doubles holding whole numbers below 2^53, in the order of the dataclasses of
``pools.mechanism.hot``; numpy reads them without a loop. Calls and replies are short structs. ``library.py`` writes
the field numbers and formats below into the Lua text, so that neither side repeats them.
"""

from __future__ import annotations

import struct
from dataclasses import fields
from typing import Any

from pools.mechanism.hot import (
    OFFER_TAG_BYTES,
    OFFERS_KEPT,
    PEAK_SLICES,
    REFUSAL_SLOTS,
    EntitlementHot,
    PoolHot,
    Reservation,
    Terms,
)

LAYOUT = 1
"""Rises when a stored record changes its meaning: processes of two layouts must not share a store."""

ENTITLEMENT = tuple(f.name for f in fields(EntitlementHot) if f.name not in ("refused", "slices", "offers"))
TERMS = tuple(f.name for f in fields(Terms))
POOL = tuple(f.name for f in fields(PoolHot))
RESERVATION = tuple(f.name for f in fields(Reservation))
POOL_CAPACITY = POOL[POOL.index("capacity_kv") :]
TERMS_LIMITS = TERMS[TERMS.index("refill_milli") :]
"""The fields a tick writes; they end their records."""

entitlement_struct = struct.Struct(f"<{len(ENTITLEMENT)}d")
refused_struct = struct.Struct(f"<{REFUSAL_SLOTS}d")
slices_struct = struct.Struct(f"<{2 * PEAK_SLICES}d")
OFFERS_BYTES = OFFERS_KEPT * OFFER_TAG_BYTES
ENTITLEMENT_BYTES = entitlement_struct.size + refused_struct.size + slices_struct.size + OFFERS_BYTES
terms_struct = struct.Struct(f"<{len(TERMS)}d")
pool_struct = struct.Struct(f"<{len(POOL)}d")
reservation_struct = struct.Struct(f"<{len(RESERVATION)}d")
candidate_struct = struct.Struct("<4d")

ASK = struct.Struct("<IQIIIQ8s")
"""tokens, kv, seats, lease_ms, hold_ms, key_id, offer tag."""
DECISION = struct.Struct("<BBBBHIqqqqqIIqI")
"""flags, code, dimension, streak, victims, wait_ms, use, limit, remaining, bucket, refill, use_seats, cap, expires,
version."""
SETTLEMENT = struct.Struct("<BBqIIIIIIQ")
"""outcome, source, actual, input, output, cached, prompt bytes, ttft, duration, endpoint."""
SETTLED = struct.Struct("<Bqqqqq")
HEARTBEAT = struct.Struct("<BIQ")
HEARTBEAT_REPLY = struct.Struct("<Bq")
EVENT = struct.Struct("<11dBB")
"""sequence, key_id, reserved, charged, spilled, overrun, kv, seats, started, settled, version, outcome, source;
settlement."""


def lua_format(layout: struct.Struct) -> str:
    """The same layout for the ``struct`` of the store's Lua: Python's q, Q, I, H and 8s are i8, I8, I4, I2 and c8."""
    text = layout.format
    if text == EVENT.format:
        return "<" + "d" * 11 + "BB"
    if text.endswith("d") and text[1:-1].isdigit():
        return "<" + "d" * int(text[1:-1])
    names = {"<": "<", "B": "B", "H": "I2", "I": "I4", "q": "i8", "Q": "I8"}
    return "".join(names[letter] for letter in text.replace("8s", "")) + ("c8" if "8s" in text else "")


def pack_entitlement(hot: EntitlementHot) -> bytes:
    """One entitlement's hot record."""
    slices = [value for pair in hot.slices for value in pair]
    return (
        entitlement_struct.pack(*(getattr(hot, name) for name in ENTITLEMENT))
        + refused_struct.pack(*hot.refused)
        + slices_struct.pack(*slices)
        + hot.offers
    )


def unpack_entitlement(raw: bytes) -> EntitlementHot:
    """The inverse of pack_entitlement; raises struct.error for another length."""
    values = {name: int(v) for name, v in zip(ENTITLEMENT, entitlement_struct.unpack_from(raw), strict=True)}
    refused = [int(value) for value in refused_struct.unpack_from(raw, entitlement_struct.size)]
    flat = [int(value) for value in slices_struct.unpack_from(raw, entitlement_struct.size + refused_struct.size)]
    slices = list(zip(flat[::2], flat[1::2], strict=True))
    return EntitlementHot(**values, refused=refused, slices=slices, offers=raw[-OFFERS_BYTES:])


def pack_terms(terms: Terms) -> bytes:
    return terms_struct.pack(*(getattr(terms, name) for name in TERMS))


def unpack_terms(raw: bytes) -> Terms:
    return Terms(*_whole(terms_struct, raw))


def pack_pool(pool: PoolHot) -> bytes:
    return pool_struct.pack(*(getattr(pool, name) for name in POOL))


def unpack_pool(raw: bytes) -> PoolHot:
    return PoolHot(*_whole(pool_struct, raw))


def pack_reservation(reservation: Reservation) -> bytes:
    return reservation_struct.pack(*(getattr(reservation, name) for name in RESERVATION))


def unpack_reservation(raw: bytes) -> Reservation:
    return Reservation(*_whole(reservation_struct, raw))


def _whole(layout: struct.Struct, raw: bytes) -> list[Any]:
    return [int(value) for value in layout.unpack(raw)]
