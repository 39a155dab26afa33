"""Template helpers for the live numbers of single entitlements. ``grid.js`` is their twin."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from pools.selectors.live_rows import LiveNumbers
from portal.dashboards import numbers, series

register = template.Library()


@register.simple_tag
def live_room(live: LiveNumbers | None) -> SafeString:
    """What is free below the limit in the tightest dimension, in words and colour; all three on hover."""
    if live is None or not live.served:
        return format_html('<span class="muted">{}</span>', numbers.NONE)
    exact = ", ".join(f"{numbers.amount(value, index)} free" for index, value in enumerate(live.headroom))
    word, text = series.room_of(live.room), numbers.percent(live.room)
    return format_html('<span class="room" data-room="{}" title="{}">{}</span>', word, exact, text)


@register.simple_tag
def live_debt(live: LiveNumbers | None) -> SafeString:
    """ "owed 20 %", "above 5 %", "even"."""
    if live is None or not live.served:
        return format_html('<span class="muted">{}</span>', numbers.NONE)
    owed = " owed" if live.debt > 0.005 else ""
    return format_html('<span class="num{}">{}</span>', owed, series.debt_words(live.debt))


@register.simple_tag
def day(value: datetime) -> SafeString:
    """The day of a moment where a list has no room for more; the whole moment on hover."""
    text = value.strftime("%Y-%m-%d")
    return format_html('<span class="num" title="{} UTC">{}</span>', value.strftime("%Y-%m-%d %H:%M:%S"), text)


@register.simple_tag
def term(key: str, value: Any) -> SafeString:
    """One value of an entitlement's terms, as previews, reports and histories show it."""
    if key.startswith("cap_") and value is None:
        return format_html('<span class="muted">{}</span>', "as the tier bursts")
    if key in {"valid_until", "valid_from"}:
        return format_html('<span class="num">{}</span>', str(value)[:16].replace("T", " ") if value else "open")
    if "kv_bytes" in key and isinstance(value, int | float):
        return format_html('<span class="num" title="{}">{}</span>', numbers.exact(value, "bytes"), numbers.kv(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format_html('<span class="num" title="{}">{}</span>', numbers.exact(value), numbers.si(value))
    return format_html("{}", numbers.NONE if value in (None, "") else value)


@register.simple_tag
def amount_of(value: float | None, dimension: int, plain: bool = False) -> SafeString:
    """An amount of dimension 0 (tokens/s), 1 (KV bytes) or 2 (slots); ``plain`` leaves out a unit that the row says."""
    sign = "−" if value is not None and value < 0 else ""
    size = abs(value) if value is not None else None
    shown = numbers.si(size) if plain and dimension != 1 else numbers.amount(size, dimension)
    exact = numbers.exact(value, numbers.DIMENSION_UNITS[dimension])
    return format_html('<span class="num" title="{}">{}{}</span>', exact, sign, shown)


@register.simple_tag
def short_of(missing: tuple[float, float, float]) -> SafeString:
    """What is missing per dimension, as a list in words: "4.02 k tok/s, 48.9 GiB and 36 slots"."""
    parts = [amount_of(value, index) for index, value in enumerate(missing) if value > 0]
    head, last = parts[:-1], parts[-1:]
    joined = format_html_join(", ", "{}", ((part,) for part in head))
    return format_html("{}{}{}", joined, " and " if head else "", last[0] if last else "nothing")


@register.simple_tag
def owed_tokens(millitokens: int) -> SafeString:
    """A balance of the ledger in words."""
    tokens = millitokens / 1000
    words = "owed to the tenant" if tokens > 0 else "served above the promise"
    mark = "owed" if tokens > 0 else "above"
    shown, exact = numbers.si(abs(tokens), "tokens"), numbers.exact(tokens, "tokens")
    return format_html('<span class="num {}" title="{}">{} {}</span>', mark, exact, shown, words)
