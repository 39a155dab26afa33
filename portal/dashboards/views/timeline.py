"""The timeline of one pool: refusals, decisions, changes, debts and headroom over one time axis, and the events as a
list."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from pools.models import Pool
from pools.selectors.overview import rows_fresh
from pools.web.pool_common import pool_of, tabs_of
from portal.accounts.access import reads_everything
from portal.dashboards import fair_reads, figures, reads, timeline_reads
from portal.dashboards.live_state import parse
from portal.dashboards.series import RANGES, Range, range_of
from portal.dashboards.timeline_figure import LANES, hover
from portal.dashboards.timeline_figure import timeline as timeline_figure
from portal.dashboards.timeline_reads import KINDS, MOST, Event
from portal.dashboards.views.common import json, page, recent
from portal.dashboards.views.fairness_live import debtors
from portal.lib.clock import now, now_ms

MOST_POOLS = 500
MOST_LINES = 5
HOUR_S = 3600
FRESH = timedelta(minutes=2)
"""Events as old as that are sent again to a page that asks what is new."""


@reads_everything
@require_safe
def timeline(request: HttpRequest) -> HttpResponse:
    """One pool's timeline; without ``?pool=`` the tightest one's."""
    pools = list(
        Pool.objects.filter(archived_at__isnull=True).order_by("slug").values_list("slug", flat=True)[:MOST_POOLS]
    )
    slug = request.GET.get("pool", "").strip() or _tightest(pools)
    if not slug:
        return page(request, "dashboards/timeline.html", {"nav": "timeline", "pool": None})
    found, span, moment = pool_of(slug), range_of(request.GET.get("range", "1h")), now()
    kinds = timeline_reads.kinds_of(request.GET.getlist("kind"))
    happened, more = timeline_reads.events(found, kinds, _since(span, moment))
    refused = sum(count for _, _, count in reads.pool_refusals(found.pk, span, moment))
    context: dict[str, Any] = {
        "nav": "timeline",
        "pool": found,
        "tabs": tabs_of(found, "timeline"),
        "pools": pools if slug in pools else [slug, *pools],
        "events": happened,
        "more": more,
        "most": MOST,
        "kinds": [(key, name, key in kinds) for key, name in KINDS],
        "filtered": len(kinds) < len(KINDS),
        "sentence": sentence(happened, more, refused, span),
        "ranges": RANGES,
        "range": span,
        "query": request.GET.urlencode(),
        "every_s": 5 if span.seconds <= HOUR_S else 30,
    }
    return page(request, "dashboards/timeline.html", context, charts=True)


def _since(span: Range, moment: datetime) -> datetime:
    return moment - timedelta(seconds=span.seconds)


def _tightest(pools: list[str]) -> str:
    rows = [row for row in rows_fresh(now_ms()) if row.slug in set(pools)]
    return min(rows, key=lambda row: (row.free, row.slug)).slug if rows else (pools[0] if pools else "")


NOUNS = {"scaling": "scaling decision", "alert": "alert message"}
SPANS = {"15m": "the last 15 minutes", "1h": "the last hour", "24h": "the last day", "7d": "the last 7 days"}


def sentence(happened: list[Event], more: bool, refused: int, span: Range) -> str:
    """What happened, counted."""
    where = SPANS.get(span.name, "the last 30 days")
    counts = {key: sum(1 for event in happened if event.kind == key) for key, _ in KINDS}
    parts = [f"{count} {NOUNS.get(key, f'{key} change')}{_s(count)}" for key, count in counts.items() if count]
    told = f"more than {MOST} events" if more else ", ".join(parts) if parts else "nothing was changed"
    return f"In {where}: {refused:,} {'request was' if refused == 1 else 'requests were'} refused; {told}."


def _s(count: int) -> str:
    return "" if count == 1 else "s"


@reads_everything
@require_safe
def fresh(request: HttpRequest, slug: str) -> HttpResponse:
    """The events of the last minutes as lines and as markers, and the sentence as it is now: what the page asks for
    while it is open. A book may be written some seconds after the moment it tells of; the page knows what it has."""
    found, span, moment = pool_of(slug), range_of(request.GET.get("range", "1h")), now()
    kinds = timeline_reads.kinds_of(request.GET.getlist("kind"))
    happened, more = timeline_reads.events(found, kinds, _since(span, moment))
    refused = sum(count for _, _, count in reads.pool_refusals(found.pk, span, moment))
    late = [event for event in happened if event.at > moment - FRESH]
    markers = [[event.key, figures.moment(event.at), event.kind, hover(event)] for event in late]
    html = render_to_string("dashboards/_timeline_events.html", {"events": late}, request)
    return json({"html": html, "markers": markers, "sentence": sentence(happened, more, refused, span)})


@reads_everything
@require_safe
def figure(request: HttpRequest, slug: str) -> HttpResponse:
    """The timeline's figure over the range and kinds in the address."""
    found, span, moment = pool_of(slug), range_of(request.GET.get("range", "1h")), now()
    kinds = timeline_reads.kinds_of(request.GET.getlist("kind"))
    happened, _ = timeline_reads.events(found, kinds, _since(span, moment))
    points = reads.pool_history(found.pk, span, moment)
    ids = debtors(recent(parse(reads.live_text(found.pk))), MOST_LINES)
    made = timeline_figure(
        points,
        reads.pool_refusals(found.pk, span, moment),
        span.bar_s,
        fair_reads.debt_history(found.pk, ids, span, moment),
        fair_reads.names_of(ids),
        happened,
    )
    window = {"seconds": span.seconds, "step_s": span.step_s, "bar_s": span.bar_s, "end": now_ms(), "lanes": LANES}
    return json({"timeline": made, "range": window, "empty": not points and not happened})
