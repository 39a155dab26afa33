"""How far each shadow was judged: what is due now, and writing it down. Safe at any time, any number of times.

Each minute is judged twice: soon after it ended, and ten minutes later, when requests that ran long have been settled.
What is written for a minute replaces what was there, so a run that died half-way is simply done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q

from pools.models import Entitlement, Pool, ShadowMinute, ShadowRun, Tier
from pools.services.shadow_judge import Judged

SOON = timedelta(seconds=15)
"""Usage and samples of a minute are in the books so long after its end."""
SETTLED = timedelta(minutes=10)
LONGEST_WINDOW = timedelta(minutes=30)
LONGEST_BACKLOG = timedelta(hours=6)
"""What was not judged for longer than this, because nobody ran, is left out."""
MINUTE = timedelta(minutes=1)
BATCH = 2000
MOST_DELETED = 20_000


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes [start, end) of a run to be judged; ``settled``: for the second time."""

    run: ShadowRun
    tier: Tier
    start: datetime
    end: datetime
    settled: bool


def shadow_runs_open(now: datetime) -> list[ShadowRun]:
    """The runs that are not judged to their end yet: begun for versions newly in shadow, ended for those that left."""
    current = dict(Tier.objects.filter(shadow__isnull=False).values_list("shadow_id", "pk"))
    begin = _ceiling(now)
    known = {run.pk: run for run in ShadowRun.objects.filter(Q(pk__in=current) | Q(ended_at__isnull=True))}
    for version_id in set(current) - set(known):
        ShadowRun.objects.get_or_create(
            version_id=version_id, defaults={"since": begin, "judged_until": begin, "settled_until": begin}
        )
    for run in known.values():
        if run.pk not in current:
            ShadowRun.objects.filter(pk=run.pk, ended_at__isnull=True).update(ended_at=now)
        elif run.ended_at is not None:  # it watches on: the time in between was not its own
            ShadowRun.objects.filter(pk=run.pk).update(ended_at=None, judged_until=begin, settled_until=begin)
    open_ones = Q(ended_at__isnull=True) | Q(settled_until__lt=F("ended_at") - MINUTE)
    return list(ShadowRun.objects.filter(open_ones).select_related("version__tier__current").order_by("pk"))


def shadow_windows(run: ShadowRun, now: datetime) -> Iterator[Window]:
    """What of a run is due, at most half an hour at a time."""
    tier = run.version.tier
    last = _floor(run.ended_at) if run.ended_at is not None else now
    oldest = _floor(now - LONGEST_BACKLOG)
    for settled, mark, delay in ((False, run.judged_until, SOON), (True, run.settled_until, SETTLED)):
        start = max(mark, oldest)
        end = min(_floor(now - delay), last, start + LONGEST_WINDOW)
        if end > start:
            yield Window(run, tier, start, end, settled)


def shadow_pools(tier: Tier) -> list[Pool]:
    """Where a tier lives."""
    lives = Entitlement.objects.filter(tier=tier).exclude(state="expired").values("pool_id")
    rows = Pool.objects.filter(pk__in=lives, archived_at__isnull=True).select_related("current_profile")
    return list(rows.order_by("pk"))


@transaction.atomic
def shadow_store(window: Window, judged: Iterable[Judged]) -> int:
    """Writes a window's counts and how far its run came; returns how many rows."""
    run = ShadowRun.objects.select_for_update(no_key=True).get(pk=window.run.pk)
    rows = [
        ShadowMinute(
            version_id=run.pk,
            entitlement_id=one.entitlement_id,
            at=one.at,
            asked=one.asked,
            refused_now=one.refused_now,
            refused=dict(one.refused),
        )
        for one in judged
    ]
    ShadowMinute.objects.bulk_create(
        rows,
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["version", "entitlement", "at"],
        update_fields=["asked", "refused_now", "refused"],
    )
    name = "settled_until" if window.settled else "judged_until"
    if getattr(run, name) < window.end:
        setattr(run, name, window.end)
        run.save(update_fields=[name])
    return len(rows)


def shadow_forget(now: datetime) -> int:
    """Removes counts older than the history by the minute is kept, some at a time; returns how many."""
    oldest = now - timedelta(days=int(settings.MINUTE_DAYS))
    if not ShadowRun.objects.filter(since__lt=oldest).exists():
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM pools_shadowminute WHERE id IN (SELECT m.id FROM pools_shadowminute m"
            " JOIN pools_shadowrun r ON r.version_id = m.version_id AND r.since < %s WHERE m.at < %s LIMIT %s)",
            [oldest, oldest, MOST_DELETED],
        )
        return int(cursor.rowcount)


def _floor(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _ceiling(at: datetime) -> datetime:
    floor = _floor(at)
    return floor if floor == at else floor + MINUTE
