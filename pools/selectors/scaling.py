"""Scaling decisions by filters and cursor; how good the advice was, by pool, over a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet, Sum

from pools.mechanism.hit_rate import Verdict
from pools.models import AdviceHour, Pool, ScalingDecision
from portal.lib.cursors import cursor_read, cursor_write
from portal.lib.given import text_of

PAGE = 50
SORT = "at"
MOST_POOLS = 500
CODES = (("up", "more"), ("down", "fewer"), ("hold", "stay"), ("manual", "by hand"))
DONE = (("applied", "carried out"), ("advice", "advice only"))
SPANS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}


@dataclass(frozen=True, slots=True)
class DecisionQuery:
    """What the address asks for; anything unknown is left out. ``moves``: only those that changed the number."""

    pool: str = ""
    code: str = ""
    done: str = ""
    moves: bool = False
    span: str = "7d"
    after: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> DecisionQuery:
        """From the parameters of an address."""
        return cls(
            pool=text_of(given, "pool", 63),
            code=given.get("code", "") if given.get("code") in dict(CODES) else "",
            done=given.get("done", "") if given.get("done") in dict(DONE) else "",
            moves=given.get("moves") == "1",
            span=given.get("range", "7d") if given.get("range") in SPANS else "7d",
            after=given.get("after", "")[:200],
        )

    @property
    def filtered(self) -> bool:
        """Whether anything is left out by a filter."""
        return bool(self.pool or self.code or self.done or self.moves)


@dataclass(frozen=True, slots=True)
class DecisionPage:
    """One page, newest first, and the cursor of the next (empty at the end)."""

    rows: list[ScalingDecision]
    next: str


def decisions_matching(query: DecisionQuery, now: datetime) -> QuerySet[ScalingDecision]:
    """Every decision that passes the filters."""
    rows: QuerySet[ScalingDecision] = ScalingDecision.objects.select_related("pool", "profile")
    rows = rows.filter(at__gte=now - SPANS[query.span])
    if query.pool:
        rows = rows.filter(pool__slug=query.pool)
    if query.code:
        rows = rows.filter(code=query.code)
    if query.done:
        rows = rows.filter(applied=query.done == "applied")
    if query.moves:
        rows = rows.exclude(before=F("chosen"))
    return rows


def decisions_page(query: DecisionQuery, now: datetime) -> DecisionPage:
    """One page of what the query asks for. One query. Raises DomainError ``bad_cursor``."""
    rows = decisions_matching(query, now)
    if query.after:
        at, key = cursor_read(query.after, SORT, True, datetime)
        rows = rows.filter(Q(at__lt=at) | Q(at=at, pk__lt=key))
    found = list(rows.order_by("-at", "-pk")[: PAGE + 1])
    after = cursor_write(SORT, True, found[PAGE - 1].at, found[PAGE - 1].pk) if len(found) > PAGE else ""
    return DecisionPage(found[:PAGE], after)


@dataclass(frozen=True, slots=True)
class PoolAdvice:
    """One pool's verdict over a range."""

    pool: Pool
    verdict: Verdict

    @property
    def gain(self) -> float | None:
        """How much more often the advice was right than what ran; None when nothing was judged."""
        hit, ran = self.verdict.hit_rate, self.verdict.ran_rate
        return hit - ran if hit is not None and ran is not None else None


def advice_by_pool(span: str, now: datetime, pool: str = "") -> list[PoolAdvice]:
    """Every living pool's verdict over a range, those where the advice was worst first. Two queries."""
    rows = AdviceHour.objects.filter(at__gte=now - SPANS[span])
    pools = Pool.objects.filter(archived_at__isnull=True)
    if pool:
        rows, pools = rows.filter(pool__slug=pool), pools.filter(slug=pool)
    names = Verdict._fields
    sums = rows.order_by().values_list("pool_id").annotate(*(Sum(name) for name in names))
    verdicts = {pool_id: Verdict(*map(int, counts)) for pool_id, *counts in sums}
    found = [PoolAdvice(one, verdicts.get(one.pk, Verdict())) for one in pools.order_by("slug")[:MOST_POOLS]]
    return sorted(found, key=lambda one: (one.verdict.hit_rate is None, one.verdict.hit_rate or 0.0, one.pool.slug))


def pools_held() -> list[Pool]:
    """Pools whose number of replicas is held by hand. One query."""
    return list(
        Pool.objects.filter(archived_at__isnull=True, manual_replicas__isnull=False).order_by("slug")[:MOST_POOLS]
    )
