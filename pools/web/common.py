"""What the pages of entitlements, jobs and requests share."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import Any

from django.http import HttpResponse

from pools.choices import ServiceClass
from pools.models import Tier
from portal.lib.tables import cell_safe

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
    for name, unit in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB)):
        if value and value % unit == 0:
            return f"{value // unit} {name}"
    return str(value)


def csv_answer(name: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> HttpResponse:
    """A table as a download; text that a spreadsheet could take for a formula is quoted with an apostrophe."""
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    writer = csv.writer(response)
    writer.writerow(head)
    writer.writerows([cell_safe(value) for value in row] for row in rows)
    return response
