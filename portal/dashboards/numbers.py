"""How numbers are written: three significant digits at most, an SI prefix, the unit. ``numbers.js`` is its twin.

The rule: whole numbers below 1,000 as they are; below 1,000 otherwise three digits without idle zeros; above, a prefix
and three digits with them (so that 1.20 k does not jump in width to 1.2 k while it changes).
"""

from __future__ import annotations

import math
from typing import NamedTuple

PREFIXES = ("", "k", "M", "G", "T", "P")
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
SINGULAR = {"slots": "slot", "tokens": "token", "replicas": "replica"}
NONE = "–"
GAP = "\u00a0"  # a number and its unit stay on one line


class Shown(NamedTuple):
    """A number as written, and exactly (for the title shown on hover and focus)."""

    text: str
    exact: str


def digits(value: float, keep_zeros: bool = False) -> str:
    """A number below 1,000 in at most three significant digits."""
    if value == 0:
        return "0"
    size = float(f"{abs(value):.3g}")  # 0.9996 is written as a 1
    places = max(0, 2 - math.floor(math.log10(size))) if size >= 0.001 else 3
    text = f"{value:.{min(places, 3)}f}"
    if not keep_zeros and "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def _scaled(value: float, base: float, names: tuple[str, ...]) -> tuple[float, str]:
    step = 0
    while abs(value) >= 999.5 and step < len(names) - 1:
        value /= base
        step += 1
    return value, names[step]


def si(value: float | None, unit: str = "") -> str:
    """1240, "tok/s" → "1.24 k tok/s"; 1, "slots" → "1 slot"."""
    if value is None:
        return NONE
    scaled, prefix = _scaled(float(value), 1000.0, PREFIXES)
    text = digits(scaled, bool(prefix))
    return GAP.join(part for part in (text, prefix, SINGULAR.get(unit, unit) if text == "1" else unit) if part)


def kv(value: float | None) -> str:
    """Bytes in binary units: 41231686042 → "38.4 GiB"."""
    if value is None:
        return NONE
    scaled, unit = _scaled(float(value), 1024.0, BINARY)
    return f"{digits(scaled, unit != 'B')}{GAP}{unit}"


def of_kv(part: float, whole: float) -> str:
    """ "21.0 of 38.4 GiB": both in the unit of the whole."""
    scaled, unit = _scaled(float(whole or part), 1024.0, BINARY)
    factor = scaled / (whole or part or 1.0)
    scaled = whole * factor
    return f"{digits(part * factor, unit != 'B')} of {digits(scaled, unit != 'B')}{GAP}{unit}"


def percent(share: float | None) -> str:
    """0.137 → "14 %"; a sliver is "<1 %", never 0."""
    if share is None:
        return NONE
    if 0 < share < 0.01:
        return f"<1{GAP}%"
    return f"{round(share * 100)}{GAP}%"


def exact(value: float | None, unit: str = "") -> str:
    """All digits, with separators: for titles."""
    if value is None:
        return "no data"
    number = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}".rstrip("0").rstrip(".")
    return f"{number} {unit}".strip()


def signed(value: float | None, unit: str = "") -> str:
    """With its sign, minus as a minus."""
    if value is None:
        return NONE
    return ("+" if value > 0 else "−" if value < 0 else "") + si(abs(value), unit)


DIMENSION_UNITS = ("tok/s", "B", "slots")


def amount(value: float | None, dimension: int) -> str:
    """One amount of dimension 0 (tokens/s), 1 (KV bytes) or 2 (slots) with its unit."""
    return kv(value) if dimension == 1 else si(value, DIMENSION_UNITS[dimension])


def of(part: float, whole: float, dimension: int) -> str:
    """412 and 2240 tokens/s → "412 of 2.24 k tok/s"; KV bytes both in the unit of the whole."""
    if dimension == 1:
        return of_kv(part, whole)
    return f"{si(part)} of {si(whole, DIMENSION_UNITS[dimension])}"


def milliseconds(value: float | None) -> str:
    """850 → "850 ms", 12,400 → "12.4 s"."""
    if value is None:
        return NONE
    return si(value, "ms") if value < 999.5 else f"{digits(value / 1000)}{GAP}s"
