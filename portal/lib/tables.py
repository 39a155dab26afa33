"""Tables: the columns an address asks for, the cells of those that leave as files for a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Container, Iterable, Sequence
from datetime import date
from typing import Any

from django.http import HttpResponse

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell_safe(value: Any) -> Any:
    """Text that a spreadsheet could take for a formula gets an apostrophe, a moment is written as everybody reads it
    (RFC 3339); everything else stays as it is."""
    if isinstance(value, date):
        return value.isoformat()
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def columns_read(text: str, known: Container[str], usual: tuple[str, ...]) -> tuple[str, ...]:
    """The known names of a list joined with commas, in its order; the usual ones when there is none."""
    return tuple(dict.fromkeys(name for name in text.split(",") if name in known)) or usual


def csv_answer(name: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> HttpResponse:
    """A table as a download; text that a spreadsheet could take for a formula is quoted with an apostrophe."""
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    writer = csv.writer(response)
    writer.writerow(head)
    writer.writerows([cell_safe(value) for value in row] for row in rows)
    return response
