"""Template helpers of the tiers' pages: before → after in one cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.dashboards import numbers

register = template.Library()
ARROWS = {"up": "▲", "down": "▼"}
WRITERS: dict[str, tuple[Callable[[float], str], str]] = {
    "tokens": (numbers.si, "tok/s"),
    "kv": (numbers.kv, "bytes"),
    "slots": (numbers.si, "slots"),
    "replicas": (numbers.si, "replicas"),
    "weight": (numbers.si, ""),
    "share": (numbers.percent, ""),
}


@register.simple_tag
def moved(pair: Any, kind: str) -> SafeString:
    """ "96 ▼ from 140", or only "140" where nothing moves noticeably; the exact values on hover."""
    write, unit = WRITERS[kind]
    exact = f"{numbers.exact(pair.before, unit)} → {numbers.exact(pair.after, unit)}"
    if not pair.heading:
        return format_html('<span class="num still" title="{}">{}</span>', exact, write(pair.after))
    return format_html(
        '<span class="num moves {}" title="{}">{} <span class="arrow">{}</span> '
        '<small class="was">from {}</small></span>',
        pair.heading,
        exact,
        write(pair.after),
        ARROWS[pair.heading],
        write(pair.before),
    )


@register.simple_tag
def money(value: float | None, currency: str) -> str:
    """A signed amount a month, without cents from a thousand on."""
    if value is None:
        return numbers.NONE
    sign = "+" if value > 0 else "−" if value < 0 else "±"
    return f"{sign}{abs(value):,.{0 if abs(value) >= 1000 else 2}f}{numbers.GAP}{currency}"
