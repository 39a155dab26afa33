"""The entitlements table of a pool: strongest class first, then by tenant: an order that no update changes.

Searched and paged by the database, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When

from pools.choices import CLASS_RULES, EntitlementState, ServiceClass
from pools.models import Entitlement, Pool
from portal.dashboards.live_state import LiveRow, LiveState
from portal.dashboards.series import Bullet, bullets, debt_words
from portal.lib.cursors import cursor_read, cursor_write
from portal.lib.given import number_of

PAGE = 50
MOST_LETTERS = 100
SORT = "class"
_CLASSES = list(ServiceClass)
_PLACE = Case(
    *(
        When(tier__service_class=one.value, then=Value(10 * CLASS_RULES[one].rank + _CLASSES.index(one)))
        for one in _CLASSES
    ),
    default=Value(99),
    output_field=IntegerField(),
)


class TableRow(NamedTuple):
    """One line of the table."""

    entitlement: Entitlement
    live: LiveRow | None
    bullets: list[Bullet | None]
    debt: str


@dataclass(frozen=True, slots=True)
class TablePage:
    """Lines, the cursor of the next (empty at the end), how many there are in all, the live state they are of."""

    rows: list[TableRow]
    next: str
    total: int
    state: LiveState | None


def table_page(
    pool: Pool, live: Callable[[Collection[int]], LiveState | None], text: str = "", cursor: str = ""
) -> TablePage:
    """One page of living entitlements that match a text; ``live`` gives the state with the rows of the ids it is given.

    Two queries at most. Raises DomainError ``bad_cursor``.
    """
    found = _matching(pool, text)
    rows = found.annotate(place=_PLACE).order_by("place", "tenant__slug", "pk")
    if cursor:
        value, key = cursor_read(cursor, SORT, False, str)
        place, _, slug = value.partition(":")
        at = number_of(place) or 0
        rows = rows.filter(
            Q(place__gt=at) | Q(place=at, tenant__slug__gt=slug) | Q(place=at, tenant__slug=slug, pk__gt=key)
        )
    taken = list(rows.select_related("tenant", "tier")[: PAGE + 1])
    more = len(taken) > PAGE
    shown = taken[:PAGE]
    total = found.count() if more or cursor else len(shown)
    after = ""
    if more:
        last = shown[-1]
        after = cursor_write(SORT, False, f"{last.place}:{last.tenant.slug}", last.pk)
    state = live({row.pk for row in shown})
    return TablePage([_line(row, state) for row in shown], after, total, state)


def _matching(pool: Pool, text: str) -> QuerySet[Entitlement]:
    rows = Entitlement.objects.filter(pool=pool).exclude(state=EntitlementState.EXPIRED)
    text = text.replace("\x00", "").strip()[:MOST_LETTERS]
    if text:
        named = Q(tenant__name__icontains=text) | Q(tenant__slug__icontains=text)
        rows = rows.filter(named | Q(slug__icontains=text) | Q(tier__name__icontains=text) | Q(state=text.lower()))
    return rows


def _line(row: Entitlement, state: LiveState | None) -> TableRow:
    seen = state.rows.get(row.pk) if state is not None else None
    return TableRow(row, seen, bullets(seen), debt_words(seen.debt) if seen is not None else "")
