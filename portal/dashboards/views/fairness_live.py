"""What the page of one pool's fairness fetches: its figures, who lent to whom, and live numbers without the socket."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.selectors.explain import records_read
from pools.selectors.live import live_cut, live_wanted
from pools.web.pool_common import pool_of
from portal.accounts.access import reads_everything
from portal.dashboards import fair_figures, fair_reads, reads
from portal.dashboards.fair_series import SPECIAL, Matrix, matrix_of, measured, with_fairness
from portal.dashboards.live_state import LiveState, parse
from portal.dashboards.series import Range, dimension_of, range_of
from portal.dashboards.views.common import json, page, recent
from portal.lib.clock import now, now_ms
from portal.lib.pages import json_text

MOST_LENDERS, MOST_BORROWERS = 8, 6
MOST_LINES = 6


def matrix_context(pool_id: int, span: Range, dimension: int, moment: datetime) -> dict[str, Any]:
    """Who used whose idle reserve over a range, with names, for ``_matrix.html``."""
    made, seconds = fair_reads.loans_total(pool_id, span, moment)
    matrix = matrix_of(made, dimension, MOST_LENDERS, MOST_BORROWERS)
    named = fair_reads.names_of([one for one in {*matrix.lenders, *matrix.borrowers} if one > 0])
    return {"matrix": _named(matrix, named), "measured_minutes": seconds / 60}


def _named(matrix: Matrix, names: dict[int, tuple[str, str, str]]) -> dict[str, Any]:
    """The matrix with names, for the template."""

    def name(identity: int) -> dict[str, str]:
        if identity in SPECIAL:
            return {"name": SPECIAL[identity], "slug": "", "class": ""}
        found = names.get(identity, (f"#{identity}", "", ""))
        return {"name": found[0], "slug": found[1], "class": found[2]}

    return {
        "borrowers": [name(one) for one in matrix.borrowers],
        "rows": [(name(lender), cells, total) for lender, cells, total in matrix.rows],
        "sums": matrix.column_sums,
        "total": matrix.total,
    }


@reads_everything
@require_safe
def matrix(request: HttpRequest, slug: str) -> HttpResponse:
    """The matrix alone, fetched every some seconds by the page."""
    found, span = pool_of(slug), range_of(request.GET.get("range", "1h"))
    dimension = dimension_of(request.GET.get("dimension", "slots"))
    return page(request, "dashboards/_matrix.html", matrix_context(found.pk, span, dimension, now()))


@reads_everything
@require_safe
def live(request: HttpRequest, slug: str) -> HttpResponse:
    """The latest live message with the latest measure, whichever tick made it: what the page polls while its websocket
    is lost; ``?rows=`` names the rows it shows."""
    found = pool_of(slug)
    text = reads.live_text(found.pk)
    if text is None:
        return json({})
    document = with_fairness(orjson.loads(text), measured(records_read(found.pk).debt_step))
    wanted = live_wanted(f'{{"rows":[{request.GET.get("rows", "")[:12_000]}]}}')
    return json_text(live_cut(document, wanted or frozenset()))


@reads_everything
@require_safe
def charts(request: HttpRequest, slug: str) -> HttpResponse:
    """The figures of one pool over the range in the address."""
    found, moment = pool_of(slug), now()
    span, dimension = range_of(request.GET.get("range", "1h")), dimension_of(request.GET.get("dimension", "slots"))
    points = fair_reads.fairness_history(found.pk, span, moment, dimension)
    ids = debtors(recent(parse(reads.live_text(found.pk))), MOST_LINES)
    debts = fair_reads.debt_history(found.pk, ids, span, moment)
    window = {"seconds": span.seconds, "step_s": span.step_s, "end": now_ms()}
    return json(
        {
            "fairness": fair_figures.fairness_lines(points),
            "lending": fair_figures.lending_areas(points, dimension),
            "debts": fair_figures.debt_lines(debts, fair_reads.names_of(ids)),
            "range": window,
            "empty": not points,
            "no_debts": not any(debts.values()),
        }
    )


def debtors(state: LiveState | None, most: int) -> list[int]:
    """Entitlements with the largest debts either way; elastic ones without any follow."""
    if state is None:
        return []
    rows = sorted(state.rows.values(), key=lambda row: (-abs(row.debt), row.entitlement_id))
    return [row.entitlement_id for row in rows if row.debt != 0][:most]
