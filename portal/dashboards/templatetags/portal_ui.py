"""Template helpers: numbers, moments, icons, bars."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.dashboards import advice, numbers

register = template.Library()
register.filter("si", numbers.si)
register.filter("kv", numbers.kv)
register.filter("percent", numbers.percent)
register.filter("ms", numbers.milliseconds)
register.filter("words", advice.words)
register.filter("arithmetic", advice.arithmetic)


@register.simple_tag
def number(value: float | None, unit: str = "") -> SafeString:
    """A number in SI form; the exact one on hover."""
    return format_html('<span class="num" title="{}">{}</span>', numbers.exact(value, unit), numbers.si(value, unit))


@register.simple_tag
def size(value: float | None) -> SafeString:
    """Bytes in binary units; the exact number on hover."""
    return format_html('<span class="num" title="{}">{}</span>', numbers.exact(value, "bytes"), numbers.kv(value))


@register.simple_tag
def amount(value: float | None, dimension: int) -> SafeString:
    """An amount of dimension 0 (tokens/s), 1 (KV bytes) or 2 (slots) with its unit; the exact one on hover."""
    exact = numbers.exact(value, numbers.DIMENSION_UNITS[dimension])
    return format_html('<span class="num" title="{}">{}</span>', exact, numbers.amount(value, dimension))


@register.simple_tag
def signed(value: float | None, unit: str = "") -> SafeString:
    """A signed number; the exact one on hover."""
    return format_html(
        '<span class="num" title="{}">{}</span>', numbers.exact(value, unit), numbers.signed(value, unit)
    )


@register.simple_tag
def moment(value: datetime | None, style: str = "both") -> SafeString:
    """A moment: UTC in the HTML and on hover, the reader's own zone once app.js has run. ``style``: both, time."""
    if value is None:
        return format_html('<span class="muted">{}</span>', numbers.NONE)
    shown = value.strftime("%H:%M:%S" if style == "time" else "%Y-%m-%d %H:%M")
    iso = value.isoformat(timespec="seconds")
    return format_html(
        '<time class="num" datetime="{}" data-style="{}" title="{} UTC">{}</time>',
        iso,
        style,
        value.strftime("%Y-%m-%d %H:%M:%S"),
        shown,
    )


@register.inclusion_tag("components/bar.html")
def bar(bullet: Any, label: str = "") -> dict[str, Any]:
    """A bullet bar: use as the bar, baseline and limit as ticks."""
    return {"bullet": bullet, "label": label}


@register.simple_tag
def query(request: Any, **changes: Any) -> str:
    """The page's query string with some parameters changed (None removes): every filter stays in the address."""
    params = request.GET.copy()
    for key, value in changes.items():
        if value in (None, ""):
            params.pop(key, None)
        else:
            params[key] = str(value)
    text = params.urlencode()
    return f"?{text}" if text else "?"


@register.filter
def undo_address(message: Any) -> str:
    """Where a note's deed is taken back, "" where it cannot be (see ``portal.lib.pages.note``)."""
    tags = (message.extra_tags or "").split()
    return next((tag.removeprefix("undo:") for tag in tags if tag.startswith("undo:/")), "")
