"""Scaling: every decision with what was seen and why, how often the advice would have been right, who holds what."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.mechanism.hit_rate import Verdict
from pools.models import Pool, ScalingDecision
from pools.selectors.scaling import (
    CODES,
    DONE,
    SPANS,
    DecisionQuery,
    advice_by_pool,
    decisions_page,
    pools_held,
)
from pools.services.ceiling import ceiling_now
from portal.accounts.access import reads_everything
from portal.lib.clock import now
from portal.lib.pages import page

SHOWN_ADVICE = 12
NAMES = ("tokens per second", "KV cache", "slots")
KINDS = ("tokens", "kv", "slots")
DIMENSION_WORDS = {"tokens": "tokens per second", "kv_bytes": "KV cache", "concurrency": "slots"}
CODE_WORDS = dict(CODES)


class Input(NamedTuple):
    """One dimension of what a decision saw: promised, asked for, one replica's, and replicas each needs."""

    name: str
    kind: str
    commit: float | None
    need: float | None
    replica: float | None


class Line(NamedTuple):
    """A decision as its row shows it."""

    row: ScalingDecision
    word: str
    binds: str
    inputs: list[Input]
    facts: list[tuple[str, str]]


class Range(NamedTuple):
    """A span by its name in the address (the shape that the range control wants)."""

    name: str


@reads_everything
@require_safe
def scaling(request: HttpRequest) -> HttpResponse:
    """The page; everything that shapes it is in the address."""
    query, moment = DecisionQuery.of(request.GET.dict()), now()
    found = decisions_page(query, moment)
    advice = advice_by_pool(query.span, moment, query.pool)
    total = Verdict()
    for one in advice:
        total = total.plus(one.verdict)
    judged = [one for one in advice if one.verdict.judged]
    context = {
        "nav": "scaling",
        "query": query,
        "lines": [_line(row) for row in found.rows],
        "next": found.next,
        "paged": bool(query.after),
        "pools": list(
            Pool.objects.filter(archived_at__isnull=True).order_by("slug").values_list("slug", flat=True)[:500]
        ),
        "codes": CODES,
        "done": DONE,
        "ranges": [Range(name) for name in SPANS],
        "range": Range(query.span),
        "advice": judged if query.pool else judged[:SHOWN_ADVICE],
        "judged": len(judged),
        "total": total,
        "sentence": sentence_of(total, query),
        "held": pools_held(),
        "ceiling": ceiling_now(),
        "chosen": next((one for one in advice if query.pool), None),
    }
    return page(request, "pools/scaling.html", context)


def _slugs() -> list[str]:
    return list(Pool.objects.filter(archived_at__isnull=True).order_by("slug").values_list("slug", flat=True)[:500])


def sentence_of(total: Verdict, query: DecisionQuery) -> str:
    """What the page says first."""
    hit, ran = total.hit_rate, total.ran_rate
    span = {"24h": "the last 24 hours", "7d": "the last 7 days", "30d": "the last 30 days"}[query.span]
    if hit is None or ran is None:
        return f"No advice of {span} could be judged yet; it is, hour by hour, as soon as an hour is over."
    verdict = f"Over {span} the advice would have been right in {_percent(hit)} of the minutes"
    missed = f"too few in {_percent(total.few / total.judged)}, too many in {_percent(total.many / total.judged)}"
    return f"{verdict}: {missed}. What really ran was right in {_percent(ran)}."


def _percent(share: float) -> str:
    if 0 < share < 0.01:
        return "<1\u00a0%"
    return f"{100 * share:.0f}\u00a0%" if share < 0.995 or share == 1 else ">99\u00a0%"


def _line(row: ScalingDecision) -> Line:
    seen: dict[str, Any] = row.inputs if isinstance(row.inputs, dict) else {}
    triples = [seen.get(name) for name in ("commit", "need", "replica")]
    columns = [one if isinstance(one, list) and len(one) == 3 else [None] * 3 for one in triples]
    inputs = [Input(NAMES[d], KINDS[d], *(column[d] for column in columns)) for d in range(3)]
    facts = [
        (words, f"{seen[name]:,}" if isinstance(seen[name], int) else str(seen[name]))
        for name, words in (
            ("wanted", "Wanted before the windows"),
            ("target", "The rules' next step"),
            ("least", "Smallest number"),
            ("most", "Largest number"),
            ("draining", "Draining"),
            ("ceiling_left", "Left under the ceiling"),
            ("mode", "Mode"),
        )
        if seen.get(name) is not None and not (name == "ceiling_left" and seen[name] >= 1_000_000)
    ]
    return Line(
        row,
        CODE_WORDS.get(row.code, row.code),
        DIMENSION_WORDS.get(row.dimension, ""),
        inputs if any(one.need is not None for one in inputs) else [],
        facts,
    )
