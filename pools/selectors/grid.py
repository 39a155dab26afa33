"""The entitlement grid: search, filters, sorting by any column and cursor pages, at fifty thousand rows.

A page is found in two steps: the keys of its rows by the sort's own index, then those rows with what is shown of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import DateTimeField, F, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from pools.choices import EntitlementState, ServiceClass
from pools.models import Entitlement, Pool, Tier
from portal.accounts.models import Tenant
from portal.lib.cursors import cursor_read, cursor_write
from portal.lib.errors import DomainError
from portal.lib.tables import columns_read

PAGE = 50
FILTERS = ("q", "pool", "tier", "class", "state", "tenant", "expiring", "below")
EXPIRING = {"7": "in 7 days", "30": "in 30 days", "90": "in 90 days"}
NEVER_ENDS = datetime(9999, 12, 31, tzinfo=UTC)
SORTS = {
    "slug": "slug",
    "tenant": "tenant__slug",
    "pool": "pool__slug",
    "tier": "tier__slug",
    "class": "tier__service_class",
    "state": "state",
    "tokens": "base_tokens_per_second",
    "kv": "base_kv_bytes",
    "slots": "base_concurrency",
    "from": "valid_from",
    "until": "until",
    "changed": "updated_at",
}
KINDS: dict[str, type] = {
    **dict.fromkeys(("from", "until", "changed"), datetime),
    **dict.fromkeys(("tokens", "kv", "slots"), int),
}
"""What a column is sorted by, where it is not text."""
COLUMNS = {
    "slug": "Entitlement",
    "tenant": "Tenant",
    "pool": "Pool",
    "tier": "Tier",
    "class": "Class",
    "state": "State",
    "tokens": "Tokens/s",
    "kv": "KV cache",
    "slots": "Slots",
    "use": "Use / limit",
    "headroom": "Headroom",
    "debt": "Debt",
    "from": "From",
    "until": "Until",
    "changed": "Changed",
}
USUAL_COLUMNS = ("tenant", "pool", "tier", "state", "tokens", "kv", "slots", "use", "headroom", "debt", "until")
MOST_LETTERS = 200


@dataclass(frozen=True, slots=True)
class GridQuery:
    """What the address of the grid asks for. ``filters`` holds only what is set."""

    filters: dict[str, str]
    sort: str = "tenant"
    descending: bool = False
    cursor: str = ""
    columns: tuple[str, ...] = USUAL_COLUMNS
    dense: bool = False

    @classmethod
    def of(cls, given: Mapping[str, str]) -> GridQuery:
        """From a query string; what is not known is left out."""
        filters = {name: given.get(name, "").strip()[:MOST_LETTERS] for name in FILTERS if given.get(name, "").strip()}
        sort = given.get("sort", "")
        return cls(
            filters,
            sort.lstrip("-") if sort.lstrip("-") in SORTS else "tenant",
            sort.startswith("-"),
            given.get("cursor", ""),
            columns_read(given.get("cols", ""), COLUMNS, USUAL_COLUMNS),
            given.get("dense", "") == "1",
        )


@dataclass(frozen=True, slots=True)
class GridPage:
    """Rows with tenant, pool, tier and version; ``next`` is the cursor of the page after, empty at the end."""

    rows: list[Entitlement]
    next: str


def grid_matching(query: GridQuery, now: datetime, below: frozenset[int] | None = None) -> QuerySet[Entitlement]:
    """Every entitlement that passes the filters; up to three small queries for a search. ``below``: ids whose limit is
    under their use (for that filter)."""
    rows = Entitlement.objects.all()
    wanted = query.filters
    state = wanted.get("state", "")
    if state == "any":
        pass
    elif state:
        rows = rows.filter(state=state)
    else:
        rows = rows.exclude(state=EntitlementState.EXPIRED.value)
    for name, path in (("pool", "pool__slug"), ("tier", "tier__slug"), ("tenant", "tenant__slug")):
        if name in wanted:
            rows = rows.filter(**{path: wanted[name]})
    if "class" in wanted:
        rows = rows.filter(
            tier__in=list(Tier.objects.filter(service_class=wanted["class"]).values_list("pk", flat=True))
        )
    if wanted.get("expiring") in EXPIRING:
        rows = rows.filter(valid_until__gt=now, valid_until__lte=now + timedelta(days=int(wanted["expiring"])))
    if "below" in wanted and below is not None:
        rows = rows.filter(pk__in=below)
    return rows.filter(_search(wanted["q"])) if "q" in wanted else rows


def _search(text: str) -> Q:
    """Letters anywhere in the entitlement's slug (trigram index), or in the names of its tenant, pool or tier."""
    if "\x00" in text:
        raise DomainError("bad_search", "The search holds a character that no name can have.")
    named = Q(name__icontains=text) | Q(slug__icontains=text)
    return (
        Q(slug__icontains=text)
        | Q(tenant__in=list(Tenant.objects.filter(named).values_list("pk", flat=True)[:5000]))
        | Q(pool__in=list(Pool.objects.filter(named | Q(model_name__icontains=text)).values_list("pk", flat=True)))
        | Q(tier__in=list(Tier.objects.filter(named).values_list("pk", flat=True)))
    )


def grid_page(query: GridQuery, matching: QuerySet[Entitlement]) -> GridPage:
    """One page of what :func:`grid_matching` found, after the cursor. Two queries. Raises ``bad_cursor``."""
    path, rows = SORTS[query.sort], matching
    if path == "until":
        rows = rows.annotate(until=Coalesce("valid_until", Value(NEVER_ENDS), output_field=DateTimeField()))
    if query.cursor:
        rows = rows.filter(_after(path, query))
    order = (F(path).desc(), F("pk").desc()) if query.descending else (F(path).asc(), F("pk").asc())
    keys = list(rows.order_by(*order).values_list("pk", path)[: PAGE + 1])
    ids = [key for key, _ in keys[:PAGE]]
    related = ("tenant", "pool__current_profile", "tier__current")
    found = {row.pk: row for row in Entitlement.objects.filter(pk__in=ids).select_related(*related)}
    following = ""
    if len(keys) > PAGE:
        key, value = keys[PAGE - 1]
        following = cursor_write(query.sort, query.descending, value, key)
    return GridPage([found[key] for key in ids if key in found], following)


def _after(path: str, query: GridQuery) -> Q:
    value, key = cursor_read(query.cursor, query.sort, query.descending, KINDS.get(query.sort, str))
    side = "lt" if query.descending else "gt"
    # The first condition repeats what follows from the second, in a form that an index can begin at.
    return Q(**{f"{path}__{side}e": value}) & (Q(**{f"{path}__{side}": value}) | Q(**{path: value, f"pk__{side}": key}))


def grid_choices() -> dict[str, list[tuple[str, str]]]:
    """What the filters offer. Two queries."""
    return {
        "pools": list(Pool.objects.filter(archived_at__isnull=True).values_list("slug", "name")[:500]),
        "tiers": list(Tier.objects.filter(archived_at__isnull=True).values_list("slug", "name")[:500]),
        "classes": [(name.value, name.value) for name in ServiceClass],
        "states": [(name.value, name.value) for name in EntitlementState],
    }
