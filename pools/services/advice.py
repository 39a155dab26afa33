"""Judges the scaling advice hour by hour, once its hour is over (``pools.mechanism.hit_rate`` says how)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pools.mechanism.hit_rate import LONGEST_LEAD_S, Advice, Minute, judge, lead_of
from pools.models import AdviceHour, Endpoint, Pool, PoolMinute, RollupMark, ScalingDecision

HOUR = timedelta(hours=1)
LOOKS_BACK = timedelta(days=2)
"""A longer outage leaves a gap: advice that old is of no use to anybody."""
STARTS_SEEN = 10
STANDS_FOR = timedelta(minutes=20)
"""A decision is written at least every five minutes; one that is older than this stands for nothing any more."""


def advice_judge(now: datetime) -> int:
    """Judges every whole hour since the last one judged; returns how many hours of pools were written."""
    rolled = RollupMark.objects.filter(level="minute").values_list("until", flat=True).first()
    if rolled is None:
        return 0
    end = min(rolled, now).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    last = AdviceHour.objects.order_by("-at").values_list("at", flat=True).first()
    at = max(last + HOUR, end - LOOKS_BACK) if last is not None else _first(end)
    written, leads = 0, _leads() if at < end else {}
    while at < end:
        written += _hour(at, leads)
        at += HOUR
    return written


def _first(end: datetime) -> datetime:
    oldest = PoolMinute.objects.filter(at__gte=end - LOOKS_BACK).order_by("at").values_list("at", flat=True).first()
    return oldest.astimezone(UTC).replace(minute=0, second=0, microsecond=0) if oldest is not None else end


def _hour(at: datetime, leads: Mapping[int, float]) -> int:
    """One hour of every pool. Four queries."""
    pools = set(Pool.objects.values_list("pk", flat=True))  # rows of sums and of pools that are gone are no pool's
    minutes: dict[int, list[Minute]] = defaultdict(list)
    rows = PoolMinute.objects.filter(at__gte=at, at__lt=at + HOUR).order_by("at")
    for pool_id, moment, needed, ready in rows.values_list("pool_id", "at", "needed", "ready_least"):
        if pool_id in pools:
            minutes[pool_id].append(Minute(moment.timestamp(), needed, ready))
    advice: dict[int, list[Advice]] = defaultdict(list)
    since = at - timedelta(seconds=LONGEST_LEAD_S) - STANDS_FOR
    decisions = ScalingDecision.objects.filter(at__gte=since, at__lt=at + HOUR).order_by("at", "pk")
    for pool_id, moment, chosen, inputs in decisions.values_list("pool_id", "at", "chosen", "inputs"):
        advice[pool_id].append(Advice(moment.timestamp(), _advised(chosen, inputs)))
    made = []
    for pool_id, mine in minutes.items():
        verdict = judge(mine, advice[pool_id], leads.get(pool_id, lead_of([])))
        if verdict.judged:
            made.append(AdviceHour(pool_id=pool_id, at=at, **verdict._asdict()))
    # Written once, whoever came first.
    AdviceHour.objects.bulk_create(made, ignore_conflicts=True)
    return len(made)


def _advised(chosen: int, inputs: Any) -> int:
    """What the rules said, also while a number by hand stood in their place."""
    target = inputs.get("target") if isinstance(inputs, dict) else None
    return target if isinstance(target, int) else chosen


def _leads() -> dict[int, float]:
    """Pool id → how long its latest replicas took to serve (s)."""
    seconds: dict[int, list[float]] = defaultdict(list)
    starts = (
        Endpoint.objects.filter(ready_at__isnull=False).order_by("-pk").values_list("pool_id", "created_at", "ready_at")
    )
    for pool_id, created, ready in starts[:5000]:
        if len(seconds[pool_id]) < STARTS_SEEN and ready is not None:
            seconds[pool_id].append((ready - created).total_seconds())
    return {pool_id: lead_of(mine) for pool_id, mine in seconds.items()}
