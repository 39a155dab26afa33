"""The list of tenants: search, filters, sorting by any column, cursor pages.

No join multiplies rows: a page's tenants are found first, then each count by its own grouped query over those tenants.
Sorting by something that is counted or live needs it of everybody; that is one grouped query or one read as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Lower

from billing.models import Account
from billing.models.ledger import AccountKind
from pools.choices import EntitlementState
from pools.models import Entitlement
from portal.accounts.choices import TenantState
from portal.accounts.models import ApiKey, Membership, Tenant
from portal.dashboards.live_state import LiveRow
from portal.dashboards.series import Bullet, bullet, debt_words
from portal.dashboards.tenants_now import tenants_now
from portal.lib.cursors import cursor_read, cursor_write
from portal.lib.errors import DomainError
from portal.lib.tables import columns_read

PAGE = 50
MOST_LETTERS = 200
COLUMNS = {"name": str, "state": str, "since": datetime}
PATHS = {"name": "low", "state": "state", "since": "created_at"}
MEASURES = ("entitlements", "use", "refused", "debt", "owed", "keys", "people")
HEADS = {
    "name": "Tenant",
    "state": "State",
    "entitlements": "Entitlements",
    "use": "Use of limit",
    "refused": "Refused/min",
    "debt": "Debt",
    "owed": "Owed tokens",
    "keys": "Keys",
    "people": "People",
    "contact": "Contact",
    "currency": "Currency",
    "since": "Since",
}
"""Column → its head, in the order of the page; the name is always shown."""
NUMERIC = frozenset({"entitlements", "refused", "debt", "owed", "keys", "people"})
USUAL = ("name", "state", "entitlements", "use", "refused", "debt", "owed", "keys", "people", "since")
STATES = {
    "": "All but offboarded",
    "active": "Active",
    "suspended": "Suspended",
    "offboarded": "Offboarded",
    "any": "All",
}
HOLDS = {"": "With or without promises", "some": "With an entitlement", "none": "Without an entitlement"}
TROUBLES = {"": "Well or not", "refused": "Refused now", "owed": "Owed tokens"}


@dataclass(frozen=True, slots=True)
class TenantQuery:
    """What the address asks for."""

    text: str = ""
    state: str = ""
    holds: str = ""
    trouble: str = ""
    sort: str = "name"
    descending: bool = False
    cursor: str = ""
    columns: tuple[str, ...] = USUAL
    dense: bool = False

    @classmethod
    def of(cls, given: Mapping[str, str]) -> TenantQuery:
        """From a query string; what is not known is left out. Raises DomainError ``bad_search`` for a NUL."""
        text = given.get("q", "").strip()[:MOST_LETTERS]
        if "\x00" in text:
            raise DomainError("bad_search", "The search holds a character that no name can have.")
        sort = given.get("sort", "")
        known = sort.lstrip("-") in (*COLUMNS, *MEASURES)
        return cls(
            text,
            given.get("state", "") if given.get("state", "") in STATES else "",
            given.get("holds", "") if given.get("holds", "") in HOLDS else "",
            given.get("trouble", "") if given.get("trouble", "") in TROUBLES else "",
            sort.lstrip("-") if known else "name",
            known and sort.startswith("-"),
            given.get("cursor", ""),
            ("name", *columns_read(given.get("cols", ""), HEADS, USUAL)),
            given.get("dense") == "1",
        )

    @property
    def filtered(self) -> bool:
        """Whether anything narrows the list."""
        return bool(self.text or self.state or self.holds or self.trouble)


@dataclass(frozen=True, slots=True)
class TenantLine:
    """One row. ``now`` None: no live data; ``owed`` in tokens, negative when more was served than promised."""

    tenant: Tenant
    entitlements: int
    keys: int
    people: int
    owed: float
    now: LiveRow | None
    bar: Bullet | None

    @property
    def debt(self) -> str:
        """The largest debt among its entitlements in words, "" without live data."""
        return debt_words(self.now.debt) if self.now is not None else ""


def matching(query: TenantQuery, now_ms: int) -> QuerySet[Tenant]:
    """Every tenant that passes the filters."""
    rows = Tenant.objects.all()
    if query.state in {"active", "suspended", "offboarded"}:
        rows = rows.filter(state=query.state)
    elif not query.state:
        rows = rows.exclude(state=TenantState.OFFBOARDED)
    if query.text:
        named = Q(slug__icontains=query.text) | Q(name__icontains=query.text)
        rows = rows.filter(named | Q(contact_email__icontains=query.text))
    if query.holds:
        holding = _living().values("tenant_id")
        rows = rows.filter(pk__in=holding) if query.holds == "some" else rows.exclude(pk__in=holding)
    if query.trouble == "refused":
        rows = rows.filter(pk__in=[key for key, row in tenants_now(now_ms).items() if row.refused_per_minute > 0])
    elif query.trouble == "owed":
        rows = rows.filter(pk__in=[key for key, owed in owed_by().items() if owed > 0])
    return rows


def tenant_page(query: TenantQuery, now_ms: int) -> tuple[list[TenantLine], str]:
    """One page and the cursor of the next, "" at the end. Raises DomainError ``bad_cursor``."""
    rows = matching(query, now_ms)
    if query.sort in COLUMNS:
        path = PATHS[query.sort]
        rows = rows.annotate(low=Lower("name"))
        if query.cursor:
            rows = rows.filter(_after(query, path))
        order = (F(path).desc(), F("pk").desc()) if query.descending else (F(path).asc(), F("pk").asc())
        found: list[Tenant] = list(rows.order_by(*order)[: PAGE + 1])
        last: Any = getattr(found[PAGE - 1], path) if len(found) > PAGE else None
    else:
        values = measure(query.sort, now_ms)
        ids = _placed(query, [(values.get(key, 0.0), key) for key in rows.values_list("pk", flat=True)])
        by_id = {row.pk: row for row in Tenant.objects.filter(pk__in=ids)}
        found = [by_id[key] for key in ids if key in by_id]
        last = values.get(found[PAGE - 1].pk, 0.0) if len(found) > PAGE else None
    following = cursor_write(query.sort, query.descending, last, found[PAGE - 1].pk) if len(found) > PAGE else ""
    return lines(found[:PAGE], now_ms), following


def tenant_rows(query: TenantQuery, now_ms: int, most: int) -> list[TenantLine]:
    """Every line that passes the filters, in the order of the page; for exports."""
    found = lines(matching(query, now_ms).order_by("slug")[:most], now_ms)
    keys: dict[str, Any] = {
        "name": lambda line: line.tenant.name.lower(),
        "state": lambda line: line.tenant.state,
        "since": lambda line: line.tenant.created_at,
        "use": lambda line: line.now.use[0] if line.now else 0.0,
        "refused": lambda line: line.now.refused_per_minute if line.now else 0.0,
        "debt": lambda line: line.now.debt if line.now else 0.0,
    }
    return sorted(found, key=keys.get(query.sort) or (lambda line: getattr(line, query.sort)), reverse=query.descending)


def _after(query: TenantQuery, path: str) -> Q:
    value, key = cursor_read(query.cursor, query.sort, query.descending, COLUMNS[query.sort])
    side = "lt" if query.descending else "gt"
    return Q(**{f"{path}__{side}": value}) | Q(**{path: value, f"pk__{side}": key})


def _placed(query: TenantQuery, pairs: list[tuple[float, int]]) -> list[int]:
    """Ids of one page and one more, in order, from (value, id) of everybody."""
    pairs.sort(reverse=query.descending)
    if query.cursor:
        place = cursor_read(query.cursor, query.sort, query.descending, float)
        pairs = [pair for pair in pairs if (pair < place if query.descending else pair > place)]
    return [key for _, key in pairs[: PAGE + 1]]


def measure(name: str, now_ms: int) -> dict[int, float]:
    """Tenant id → what a column shows, of everybody who has any."""
    if name == "use":
        return {key: row.use[0] for key, row in tenants_now(now_ms).items()}
    if name == "refused":
        return {key: row.refused_per_minute for key, row in tenants_now(now_ms).items()}
    if name == "debt":
        return {key: row.debt for key, row in tenants_now(now_ms).items()}
    if name == "owed":
        return owed_by()
    counted = {"entitlements": _living(), "keys": _working_keys(now_ms), "people": Membership.objects.all()}[name]
    return {key: float(count) for key, count in _counts(counted).items()}


def lines(tenants: Iterable[Tenant], now_ms: int) -> list[TenantLine]:
    """Rows with their counts: four grouped queries, whatever their number."""
    found = list(tenants)
    ids = [tenant.pk for tenant in found]
    living, keys = (
        _counts(_living().filter(tenant_id__in=ids)),
        _counts(_working_keys(now_ms).filter(tenant_id__in=ids)),
    )
    people, owed = _counts(Membership.objects.filter(tenant_id__in=ids)), owed_by(ids)
    live = tenants_now(now_ms)
    return [
        TenantLine(
            row,
            living.get(row.pk, 0),
            keys.get(row.pk, 0),
            people.get(row.pk, 0),
            owed.get(row.pk, 0.0),
            live.get(row.pk),
            bullet(live[row.pk], 0) if row.pk in live else None,
        )
        for row in found
    ]


def owed_by(ids: list[int] | None = None) -> dict[int, float]:
    """Tenant id → tokens owed to it, over the tenants given or all that have an account."""
    rows = Account.objects.filter(kind=AccountKind.ENTITLEMENT_DEBT)
    if ids is not None:
        rows = rows.filter(tenant_id__in=ids)
    sums = rows.order_by().values("tenant_id").annotate(owed=Sum("balance_millitokens"))
    return {row["tenant_id"]: row["owed"] / 1000 for row in sums}


def state_counts() -> dict[str, int]:
    """How many tenants are in each state."""
    return dict(Tenant.objects.order_by().values_list("state").annotate(count=Count("pk")))


def _living() -> QuerySet[Entitlement]:
    return Entitlement.objects.exclude(state=EntitlementState.EXPIRED.value)


def _working_keys(now_ms: int) -> QuerySet[ApiKey]:
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    return ApiKey.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=moment), revoked_at__isnull=True)


def _counts(rows: QuerySet[Any]) -> dict[int, int]:
    return dict(rows.order_by().values_list("tenant_id").annotate(count=Count("pk")))
