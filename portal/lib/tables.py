"""Cells of the tables that leave as files for a spreadsheet."""

from __future__ import annotations

from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell_safe(value: Any) -> Any:
    """Text that a spreadsheet could take for a formula gets an apostrophe; everything else stays as it is."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
