"""The function library of the store: its text, its version, and the handshake before a process uses a store.

``LAYOUT`` (records.py) says what stored records mean: two layouts never share a store. ``BUILD`` rises with every
change of functions.lua: a newer build replaces an older one of the same layout, an older process keeps using the
newer one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pools.counters import records
from pools.mechanism import accrual, admission, hot, retry, settlement
from portal.lib.errors import DomainError

BUILD = 4
LIBRARY = "tokenpools"
PARTS = ("records", "passing_time", "victims", "admission", "settlement", "leases", "control")
"""Files of functions/, in the order they are joined."""
USAGE_MAXLEN = 1_000_000
REMEMBER_EXPIRED_MS = 60_000
LONGEST_LEASE_MS = 3_600_000
OUTCOME_EXPIRED = 5
"""Position of ``expired`` in types.OUTCOMES; a test compares them."""

_CLOCK = """local t = call('TIME')
  return t[1] * 1000 + floor(t[2] / 1000)"""
_TEST_CLOCK = "return tonumber(call('GET', tag .. ':now'))"
_FIELDS = {
    "mine": records.ENTITLEMENT,
    "terms": records.TERMS,
    "pool": records.POOL,
    "lease": records.RESERVATION,
}
_MODULES = (hot, retry, admission, settlement, accrual)


@lru_cache(maxsize=2)
def library_text(*, test_clock: bool = False) -> str:
    """functions/*.lua joined, field numbers and constants written in. ``test_clock``: time is a key, for tests."""
    folder = Path(__file__).parent / "functions"
    text = "\n".join((folder / f"{part}.lua").read_text() for part in PARTS)
    text = text.replace("--@clock", _TEST_CLOCK if test_clock else _CLOCK)
    names = _constants(test_clock)
    text = re.sub(r"@\{(\w+)\}", lambda match: str(names[match[1]]), text)
    return re.sub(r"\b(mine|terms|pool|lease)\.([a-z_]+)", _position, text)


def _position(match: re.Match[str]) -> str:
    return f"{match[1]}[{_FIELDS[match[1]].index(match[2]) + 1}]"


def _constants(test_clock: bool) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for module in _MODULES:
        names.update({key: value for key, value in vars(module).items() if key.isupper()})
    for name in ("ask", "decision", "settlement", "settled", "heartbeat", "heartbeat_reply", "event"):
        names[name] = records.lua_format(getattr(records, name.upper()))
    for name, structure in (
        ("entitlement", records.entitlement_struct),
        ("terms", records.terms_struct),
        ("pool", records.pool_struct),
        ("reservation", records.reservation_struct),
        ("slices", records.slices_struct),
    ):
        names[name] = records.lua_format(structure)
    names.update(
        capacity="<" + "d" * (len(records.POOL_CAPACITY) + 1),
        capacity_fields=len(records.POOL_CAPACITY),
        capacity_at=records.POOL.index(records.POOL_CAPACITY[0]),
        entitlement_bytes=records.entitlement_struct.size,
        entitlement_fields=len(records.ENTITLEMENT),
        terms_fields=len(records.TERMS),
        terms_limits_at=8 * records.TERMS.index(records.TERMS_LIMITS[0]),
        limit_fields=len(records.TERMS_LIMITS),
        pool_fields=len(records.POOL),
        pool_positions="{" + ", ".join(f"{field} = {i + 1}" for i, field in enumerate(records.POOL)) + "}",
        reservation_fields=len(records.RESERVATION),
        refused_bytes=records.refused_struct.size,
        slices_bytes=records.slices_struct.size,
        offers_at=records.refused_struct.size + records.slices_struct.size,
        tail_bytes=records.ENTITLEMENT_BYTES - records.entitlement_struct.size,
        USAGE_MAXLEN=USAGE_MAXLEN,
        REMEMBER_EXPIRED_MS=REMEMBER_EXPIRED_MS,
        LONGEST_LEASE_MS=LONGEST_LEASE_MS,
        OUTCOME_EXPIRED=OUTCOME_EXPIRED,
        LAYOUT=records.LAYOUT,
        BUILD=BUILD,
        CLOCK="test" if test_clock else "server",
    )
    return names


def must_load(reply: Sequence[Any] | None, *, in_use: bool, test_clock: bool = False) -> bool:
    """Whether to load our text, given what ``tp_version`` answered (None: no library there).

    Raises DomainError ``library_conflict`` when a process of another layout uses the store.
    """
    if reply is None:
        return True
    layout, build = int(reply[0]), int(reply[1])
    if layout != records.LAYOUT:
        if in_use:
            raise DomainError(
                "library_conflict",
                f"The hot store is in use with counters of layout {layout}; this version needs layout {records.LAYOUT}."
                " Stop every gateway and worker of the other version and empty its counters, or give this one its own "
                "REDIS_URL.",
                status=503,
            )
        return True
    clock = reply[2].decode() if isinstance(reply[2], bytes) else str(reply[2])
    return build < BUILD or clock != ("test" if test_clock else "server")
