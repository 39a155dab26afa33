"""Template helpers of the pools' pages: an amount of a dimension, a share as a bar."""

from __future__ import annotations

import math

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.dashboards import numbers

register = template.Library()
PLACES = {"tokens": 0, "kv": 1, "slots": 2}


@register.simple_tag
def measure(value: float | None, kind: str) -> SafeString:
    """One amount of tokens (per second), kv (bytes) or slots with its unit; a minus stays a minus; exact on hover."""
    if value is None or math.isinf(value):
        return format_html('<span class="muted">{}</span>', numbers.NONE)
    place = PLACES[kind]
    unit = "bytes" if kind == "kv" else numbers.DIMENSION_UNITS[place]
    text = ("−" if value < 0 else "") + numbers.amount(abs(value), place)
    return format_html('<span class="num" title="{}">{}</span>', numbers.exact(value, unit), text)


@register.simple_tag
def level(share: float | None, room: str = "") -> SafeString:
    """A bar of a share of 1; ``room`` good, low or none colours it."""
    width = f"{100 * min(1.0, max(0.0, share or 0.0)):.2f}"
    return format_html(
        '<svg class="gauge" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" data-room="{}">'
        '<rect class="track" width="100" height="10"/><rect class="use" width="{}" height="10"/></svg>',
        room or "good",
        width,
    )


@register.filter
def rate_words(share: float | None) -> str:
    """0.987 → "99 %"; nothing judged is no number."""
    return numbers.percent(share) if share is not None else numbers.NONE
