"""Template helpers of the tenants' pages: heads that sort, a pager by cursor, an address that may not be there."""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.dashboards.series import debt_words
from portal.dashboards.templatetags.portal_ui import query as address

register = template.Library()
register.filter("debt", debt_words)


@register.simple_tag
def sort_head(request: Any, query: Any, key: str, label: str, numeric: bool) -> SafeString:
    """A column's head: a link that sorts by it, and the other way round when it does already."""
    mine = query.sort == key
    # Numbers are looked for from the top, names from the bottom.
    first = f"-{key}" if numeric or key == "use" else key
    other = key if query.descending else f"-{key}"
    state = ("descending" if query.descending else "ascending") if mine else "none"
    arrow = ("↓" if query.descending else "↑") if mine else ""
    return format_html(
        '<th scope="col"{} aria-sort="{}"><a href="{}">{}<span class="arrow" aria-hidden="true">{}</span></a></th>',
        SafeString(' class="n"') if numeric else "",
        state,
        address(request, sort=other if mine else first, cursor=None),
        label,
        arrow,
    )


@register.simple_tag
def door(name: str, *args: Any) -> str:
    """An address by its name, "" where this installation has no such page."""
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""
