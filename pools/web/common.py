"""What the pages of entitlements, jobs and requests share."""

from __future__ import annotations

from pools.choices import ServiceClass
from pools.models import Tier

MIB, GIB, TIB = 1024**2, 1024**3, 1024**4
UNITS = {"b": 1, "bytes": 1, "kib": 1024, "mib": MIB, "gib": GIB, "tib": TIB}


def tier_choices() -> list[Tier]:
    """Tiers with a version in force, strongest class first, as choices of a form. One query."""
    order = list(ServiceClass)
    rows = Tier.objects.filter(archived_at__isnull=True, current__isnull=False).order_by("slug")[:500]
    return sorted(rows, key=lambda tier: order.index(ServiceClass(tier.service_class)))


def size_read(text: str) -> int:
    """ "3.5 GiB", "512 MiB" or plain bytes as a whole number of bytes. Raises ValueError."""
    text = text.strip().lower().replace(",", "").replace("\u00a0", " ").replace("_", "")
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(digits) :].strip()
    if unit and unit not in UNITS:
        raise ValueError(f"unknown unit {unit!r}")
    value = float(digits) * UNITS[unit] if unit else int(digits)
    if not 0 <= value < 2**62:
        raise ValueError("out of range")
    return round(value)


def size_write(value: int | None) -> str:
    """The shortest exact text of a number of bytes."""
    if value is None:
        return ""
    for name, unit in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", 1024)):
        if value and value % unit == 0:
            return f"{value // unit} {name}"
    return str(value)
