"""What changed, field by field: two JSON documents as a list of paths with the value before and after. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

MOST = 300
LONGEST = 2000
MISSING = object()
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class Change(NamedTuple):
    """One field. ``kind``: added, removed or changed; texts are as a person reads them, ``hint`` explains a number."""

    path: str
    kind: str
    before: str
    after: str
    hint: str = ""


def changes(before: Any, after: Any) -> list[Change]:
    """Fields that differ, in the order of the field names; at most 300."""
    found: list[Change] = []
    for path, old, new in _walk("", before, after):
        kind = "added" if old is MISSING else "removed" if new is MISSING else "changed"
        found.append(Change(path or "value", kind, shown(old), shown(new), _hint(path, old, new)))
        if len(found) == MOST:
            break
    return found


def _walk(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _walk(f"{path}.{key}" if path else key, old.get(key, MISSING), new.get(key, MISSING))
    elif isinstance(new, dict) and new and old is MISSING:
        for key in sorted(new):
            yield from _walk(f"{path}.{key}" if path else key, MISSING, new[key])
    elif isinstance(old, dict) and old and new is MISSING:
        for key in sorted(old):
            yield from _walk(f"{path}.{key}" if path else key, old[key], MISSING)
    elif type(old) is not type(new) or old != new:
        yield path, old, new


def shown(value: Any) -> str:
    """A value as text: numbers with separators, nothing as a dash, lists and objects as JSON."""
    if value is MISSING:
        return ""
    if value is None:
        return "–"
    if value is True or value is False:
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _hint(path: str, old: Any, new: Any) -> str:
    """Bytes in units that can be read."""
    if not path.endswith("bytes"):
        return ""
    return " → ".join(_size(value) for value in (old, new) if isinstance(value, int | float) and value is not True)


def _size(value: float) -> str:
    step = 0
    while abs(value) >= 1024 and step < len(UNITS) - 1:
        value, step = value / 1024, step + 1
    return f"{value:.3g} {UNITS[step]}"
