"""Other terms of a tier, tried on what really came lately: the shadow's replay, once, on a day or on as much of it as a
page can wait for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count

from billing.selectors.requests import requests_counted
from billing.services.shadow import judged_in
from pools.models import Entitlement, Pool, Tier
from pools.services.preview_state import reach_of
from pools.services.shadow_judge import Trial
from pools.services.tier_terms import TierTerms

LONGEST = timedelta(hours=24)
SHORTEST = timedelta(minutes=10)
STEPS = 48
MOST_REQUESTS = 40_000
MOST_ROWS = 200_000
"""Rows of the history by the minute that one trial reads; a pool of thousands has that many in a few hours."""
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What the terms would have answered between two moments, beside what was answered. ``most`` are the entitlements
    that would be refused most. ``whole`` is false where less than a day, or not every pool, was looked at."""

    start: datetime
    end: datetime
    asked: int
    refused_now: int
    refused: dict[str, int]
    most: list[tuple[Entitlement, int]]
    whole: bool

    @property
    def would(self) -> int:
        """Refused by the other terms, all reasons."""
        return sum(self.refused.values())


def tier_what_if(tier: Tier, terms: TierTerms, now: datetime) -> WhatIf:
    """Tries terms on the last day of a tier's pools. Errors of the hot store pass through; nothing is written."""
    reach = reach_of(tier.pk)
    pools = list(Pool.objects.filter(pk__in=reach.pool_ids).select_related("current_profile"))
    span = _span(tier, pools, now)
    end = now.replace(second=0, microsecond=0)
    asked = refused_now = 0
    refused: Counter[str] = Counter()
    by_entitlement: Counter[int] = Counter()
    for pool in pools:
        for one in judged_in(Trial(pool, tier, terms, end - span, end, _step(span)), now, MOST_REQUESTS):
            asked += one.asked
            refused_now += one.refused_now
            refused.update(one.refused)
            by_entitlement[one.entitlement_id] += one.refused.total()
    named = [(identity, count) for identity, count in by_entitlement.most_common(MOST_NAMED) if count]
    rows = Entitlement.objects.select_related("tenant", "pool").in_bulk([identity for identity, _ in named])
    return WhatIf(
        start=end - span,
        end=end,
        asked=asked,
        refused_now=refused_now,
        refused=dict(refused.most_common()),
        most=[(rows[identity], count) for identity, count in named if identity in rows],
        whole=span == LONGEST and reach.pools == len(reach.pool_ids),
    )


def _span(tier: Tier, pools: list[Pool], now: datetime) -> timedelta:
    """A day, or so much of it that neither its requests nor its history are too many."""
    pool_ids = [pool.pk for pool in pools]
    mine = list(Entitlement.objects.filter(tier=tier, pool_id__in=pool_ids).values_list("pk", flat=True))
    living = Entitlement.objects.filter(pool_id__in=pool_ids).exclude(state="expired").aggregate(many=Count("pk"))
    requests = requests_counted(pool_ids, mine, now - LONGEST)
    share = min(1.0, MOST_REQUESTS / max(1, requests), MOST_ROWS / max(1, 24 * 60 * living["many"]))
    minutes = int(share * 24 * 60)
    return max(SHORTEST, timedelta(minutes=minutes))


def _step(span: timedelta) -> timedelta:
    minutes = -(-int(span.total_seconds()) // (60 * STEPS))
    return timedelta(minutes=max(1, minutes))
