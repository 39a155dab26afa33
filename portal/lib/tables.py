"""Tables: the columns an address asks for, the cells of those that leave as files for a spreadsheet."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell_safe(value: Any) -> Any:
    """Text that a spreadsheet could take for a formula gets an apostrophe; everything else stays as it is."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def columns_read(text: str, known: Container[str], usual: tuple[str, ...]) -> tuple[str, ...]:
    """The known names of a list joined with commas, in its order; the usual ones when there is none."""
    return tuple(dict.fromkeys(name for name in text.split(",") if name in known)) or usual
