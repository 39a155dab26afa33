"""One row of the entitlement grid, put together in Python: fifty rows by a template's own conditions took as long as
everything else of the page together. ``grid.js`` changes the live cells in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django import template
from django.urls import reverse
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator

from pools.models import Entitlement
from pools.selectors.live_rows import LiveNumbers
from portal.dashboards import numbers, series
from portal.dashboards.templatetags.portal_live import day, live_debt, live_room
from portal.dashboards.templatetags.portal_ui import number, size

register = template.Library()
Cell = Callable[[Entitlement, LiveNumbers | None], SafeString]
MUTED = mark_safe(f'<span class="muted">{numbers.NONE}</span>')  # noqa: S308  a constant
BAR = (
    '<span class="bullet" title="{}"><span class="nums">{}</span><svg class="bar" viewBox="0 0 100 8" '
    'preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="8"/><rect class="use" '
    'y="1.5" width="{:.2f}" height="5"/><line class="base"{} x1="{:.2f}" x2="{:.2f}" y1="-1" y2="9"/><line '
    'class="limit" x1="{:.2f}" x2="{:.2f}" y1="-1" y2="9"/></svg></span>'
)
"""As ``components/bar.html``."""


@register.simple_tag(takes_context=True)
def grid_row(context: dict[str, Any], row: Entitlement, live: LiveNumbers | None) -> SafeString:
    """A table row: the box to select it for who operates, then the shown columns in their order."""
    parts = [f'<tr data-row="{row.pk}" class="c-{conditional_escape(row.tier.service_class)}">']
    if context["request"].user.operates:
        parts.append(
            f'<td class="pick"><input class="form-check-input" type="checkbox" name="pick" value="{row.pk}" '
            f'aria-label="Select {conditional_escape(row.slug)}"></td>'
        )
    parts += [CELLS[key](row, live) for key, *_ in context["heads"]]
    if context["no_name"]:
        link = '<td class="n link"><a class="open" href="{}" aria-label="Open {}">Open</a></td>'
        parts.append(format_html(link, _address(row), row.slug))
    parts.append("</tr>")
    return mark_safe("".join(parts))  # noqa: S308  every part is escaped where it is made


def _address(row: Entitlement) -> str:
    return reverse("entitlement", args=[row.slug])


def _cut(text: str, letters: int) -> str:
    return Truncator(text).chars(letters)


def _chip(name: str, text: str) -> SafeString:
    return format_html('<td><span class="chip {}">{}</span></td>', name, text)


def _slug(row: Entitlement, live: LiveNumbers | None) -> SafeString:
    shown = '<td class="mono"><a class="open" href="{}">{}</a></td>'
    return format_html(shown, _address(row), _cut(row.slug, 48))


def _tenant(row: Entitlement, live: LiveNumbers | None) -> SafeString:
    shown = '<th scope="row" title="{}"><a class="open" href="{}">{}</a></th>'
    return format_html(shown, row.tenant.name, _address(row), _cut(row.tenant.name, 36))


def _pool(row: Entitlement, live: LiveNumbers | None) -> SafeString:
    return format_html('<td><a href="{}">{}</a></td>', reverse("pool", args=[row.pool.slug]), row.pool.slug)


def _state(row: Entitlement, live: LiveNumbers | None) -> SafeString:
    shown = '<td data-cell="state" title="{}"><span class="chip {}">{}</span></td>'
    return format_html(shown, row.state_reason, row.state, row.state)


def _amount(name: str) -> Cell:
    write = size if name == "kv_bytes" else number

    def cell(row: Entitlement, live: LiveNumbers | None) -> SafeString:
        base = getattr(row, f"base_{name}")
        if base:
            return format_html('<td class="n">{}</td>', write(base))
        return format_html('<td class="n"><span class="muted">≤ {}</span></td>', write(getattr(row, f"cap_{name}")))

    return cell


def _use(row: Entitlement, live: LiveNumbers | None) -> SafeString:
    return format_html('<td class="wide-bar" data-cell="use">{}</td>', _bar(live))


def _bar(live: LiveNumbers | None) -> SafeString:
    if live is None or not live.served:
        return MUTED
    one = series.bullet(cast(Any, live), live.fullest)
    base, limit = one.base_percent, one.limit_percent
    hidden = "" if base else ' visibility="hidden"'
    exact, text = conditional_escape(one.exact), conditional_escape(one.text)
    return mark_safe(BAR.format(exact, text, one.use_percent, hidden, base, base, limit, limit))  # noqa: S308  escaped


def _headroom(row: Entitlement, live: LiveNumbers | None) -> SafeString:
    return format_html('<td class="n" data-cell="headroom">{}</td>', live_room(live))


def _debt(row: Entitlement, live: LiveNumbers | None) -> SafeString:
    return format_html('<td class="n" data-cell="debt">{}</td>', live_debt(live))


def _until(row: Entitlement, live: LiveNumbers | None) -> SafeString:
    open_ended = mark_safe('<span class="muted">open</span>')
    return format_html("<td>{}</td>", day(row.valid_until) if row.valid_until else open_ended)


CELLS: dict[str, Cell] = {
    "slug": _slug,
    "tenant": _tenant,
    "pool": _pool,
    "tier": lambda row, live: _chip(row.tier.service_class, _cut(row.tier.name, 26)),
    "class": lambda row, live: _chip(row.tier.service_class, row.tier.service_class),
    "state": _state,
    "tokens": _amount("tokens_per_second"),
    "kv": _amount("kv_bytes"),
    "slots": _amount("concurrency"),
    "use": _use,
    "headroom": _headroom,
    "debt": _debt,
    "from": lambda row, live: format_html("<td>{}</td>", day(row.valid_from)),
    "until": _until,
    "changed": lambda row, live: format_html("<td>{}</td>", day(row.updated_at)),
}
"""Column → its cell; the keys are those of ``pools.selectors.grid.COLUMNS``."""
