"""Fairness: every pool at its latest measure; one pool with debts, shares, history and who borrowed from whom."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.models import Entitlement, Pool
from pools.selectors.explain import records_read
from pools.selectors.overview import OWED, PoolRow, rows_fresh
from pools.web.pool_common import pool_of, tabs_of
from portal.accounts.access import reads_everything
from portal.dashboards import fair_reads, reads
from portal.dashboards.fair_reads import PoolFairness
from portal.dashboards.fair_series import (
    SORTS,
    FairRow,
    Measured,
    fair_rows,
    fairness_sentence,
    measured,
    ordered,
    scales,
)
from portal.dashboards.live_state import LiveState, parse
from portal.dashboards.series import DIMENSIONS, RANGES, dimension_of, range_of
from portal.dashboards.views.common import page, recent
from portal.dashboards.views.fairness_live import matrix_context
from portal.lib.clock import now, now_ms
from portal.lib.given import number_of

MOST_POOLS = 500
MOST_ROWS = 50


class PoolLine(NamedTuple):
    """One pool of the list: its latest measure and its row of the overview, None where there is none of late."""

    pool: Pool
    fair: PoolFairness | None
    row: PoolRow | None
    satisfied_percent: float


@reads_everything
@require_safe
def fairness(request: HttpRequest) -> HttpResponse:
    """Every pool, the least fair first; with ``?pool=`` that pool."""
    if request.GET.get("pool"):
        return _pool(request, request.GET["pool"])
    text = request.GET.get("q", "").strip()
    pools = Pool.objects.filter(archived_at__isnull=True).only("slug", "name")
    if text:
        pools = pools.filter(Q(slug__icontains=text) | Q(name__icontains=text))
    shown = list(pools.order_by("slug")[:MOST_POOLS])
    fair, live = fair_reads.pools_latest(now()), {row.pool_id: row for row in rows_fresh(now_ms())}
    lines = [_line(pool, fair.get(pool.pk), live.get(pool.pk)) for pool in shown]
    lines.sort(key=lambda line: (_order(line), line.pool.slug))
    context = {"nav": "fairness", "lines": lines, "q": text, "sentence": _list_sentence(lines, bool(text))}
    return page(request, "dashboards/fairness.html", context)


def _line(pool: Pool, fair: PoolFairness | None, row: PoolRow | None) -> PoolLine:
    satisfied = fair.satisfied if fair is not None else None
    return PoolLine(pool, fair, row, 100.0 * satisfied if satisfied is not None else 0.0)


def _order(line: PoolLine) -> float:
    """Least satisfied first; who is not measured, last."""
    if line.fair is None:
        return 3.0
    return line.fair.satisfied if line.fair.satisfied is not None else 2.0


def _list_sentence(lines: list[PoolLine], filtered: bool) -> str:
    if not lines:
        return "No pool matches." if filtered else "There is no pool yet."
    short = [line.pool.slug for line in lines if line.fair is not None and (line.fair.satisfied or 1.0) < 0.95]
    owed = sum(line.row.owed for line in lines if line.row is not None)
    kept = (
        f"{len(short)} of {len(lines)} pools keep less than 95 % of what is asked for"
        if short
        else ("Every pool keeps the promises that are asked for" if len(lines) > 1 else "The pool keeps its promises")
    )
    many = (
        "nobody is owed anything"
        if not owed
        else f"{owed} {'entitlement is' if owed == 1 else 'entitlements are'} owed"
    )
    return f"{kept}; {many}."


def _pool(request: HttpRequest, slug: str) -> HttpResponse:
    found, moment = pool_of(slug), now()
    span, dimension = range_of(request.GET.get("range", "1h")), dimension_of(request.GET.get("dimension", "slots"))
    sort = request.GET.get("sort", "")
    sort = sort if sort in SORTS else SORTS[0]
    state = recent(parse(reads.live_text(found.pk)))
    seen = measured(records_read(found.pk).debt_step)
    rows, names, more = _table(found.pk, state, dimension, sort, request.GET.get("page", ""), seen)
    largest, widest = scales(state, dimension) if state is not None else (0.0, 0.0)
    held = {row.pk: row for row in _held([row.entitlement_id for row in rows])}
    context: dict[str, Any] = {
        "nav": "fairness",
        "pool": found,
        "tabs": tabs_of(found, "fairness"),
        "state": state,
        "sentence": fairness_sentence(state, names, seen),
        "seen": seen.fairness if seen is not None and state is not None else None,
        "owed": sum(1 for row in state.rows.values() if row.debt > OWED) if state is not None else None,
        "rows": [(row, held[row.entitlement_id]) for row in rows if row.entitlement_id in held],
        "sort": sort,
        "sorts": SORTS,
        **more,
        "largest": f"{largest:.6f}",
        "widest": f"{widest:.9f}",
        **matrix_context(found.pk, span, dimension, moment),
        "ranges": RANGES,
        "range": span,
        "dimensions": DIMENSIONS,
        "dimension": DIMENSIONS[dimension][0],
        "pools": list(Pool.objects.filter(archived_at__isnull=True).values_list("slug", flat=True)[:MOST_POOLS]),
    }
    return page(request, "dashboards/fairness_pool.html", context, charts=True)


def _table(
    pool_id: int, state: LiveState | None, dimension: int, sort: str, page_text: str, seen: Measured | None
) -> tuple[list[FairRow], dict[int, str], dict[str, Any]]:
    """(the rows of one page, names of all, what the pager needs). Sorted here: the live state is already in memory."""
    if state is None:
        return [], {}, {"page": 1, "pages": 1, "total": 0}
    names = dict(Entitlement.objects.filter(pool_id=pool_id).values_list("pk", "tenant__name"))
    every = ordered(fair_rows(state, dimension, seen), sort, names)
    pages = max(1, -(-len(every) // MOST_ROWS))
    number = min(max(1, number_of(page_text, 5) or 1), pages)
    shown = every[(number - 1) * MOST_ROWS : number * MOST_ROWS]
    return shown, names, {"page": number, "pages": pages, "total": len(every)}


def _held(ids: list[int]) -> list[Entitlement]:
    return list(Entitlement.objects.filter(pk__in=ids).select_related("tenant", "tier"))
