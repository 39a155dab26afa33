"""How numbers are written. tests/browser runs the same table through numbers.js."""

from __future__ import annotations

from typing import Any

import pytest

from portal.dashboards import numbers

GAP = "\u00a0"
CASES: list[tuple[str, tuple[Any, ...], str]] = [
    ("si", (0, "tok/s"), "0 tok/s"),
    ("si", (412, "tok/s"), "412 tok/s"),
    ("si", (9.5, "tok/s"), "9.5 tok/s"),
    ("si", (48.24, ""), "48.2"),
    ("si", (1240, "tok/s"), "1.24 k tok/s"),
    ("si", (1200, "tok/s"), "1.20 k tok/s"),
    ("si", (999.6, ""), "1.00 k"),
    ("si", (48213, "tokens"), "48.2 k tokens"),
    ("si", (7_300_000_000, ""), "7.30 G"),
    ("si", (0.0004, ""), "0"),
    ("si", (-1240, ""), "-1.24 k"),
    ("si", (None, ""), "–"),
    ("kv", (41_231_686_042,), "38.4 GiB"),
    ("si", (1, "slots"), "1 slot"),
    ("si", (1000, "tokens"), "1.00 k tokens"),
    ("of", (0, 1, 2), "0 of 1 slot"),
    ("kv", (0,), "0 B"),
    ("kv", (1536,), "1.50 KiB"),
    ("of", (412, 480, 0), "412 of 480 tok/s"),
    ("of", (652, 2240, 0), "652 of 2.24 k tok/s"),
    ("of", (22_548_578_304, 41_231_686_042, 1), "21.0 of 38.4 GiB"),
    ("of", (6, 16, 2), "6 of 16 slots"),
    ("of", (0, 0, 1), "0 of 0 B"),
    ("of", (39_845_888, 0, 1), "38.0 of 0 MiB"),
    ("percent", (0.137,), "14 %"),
    ("percent", (0.0004,), "<1 %"),
    ("percent", (0,), "0 %"),
    ("signed", (-2500, "tokens"), "−2.50 k tokens"),
    ("signed", (12, "tokens"), "+12 tokens"),
    ("exact", (1234567, "tok/s"), "1,234,567 tok/s"),
    ("exact", (None,), "no data"),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), CASES)
def test_as_written(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert getattr(numbers, name)(*arguments).replace(GAP, " ") == expected
