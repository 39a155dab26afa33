"""Celery's doors to the reconcilers. A task takes locks, calls services, survives a store that is away; no rules here.

Pools are dealt to shards by id. A beat that comes while the last one still runs finds the lock taken and does nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from celery import shared_task
from django.db import Error as DatabaseError

from pools.counters.types import CounterUnavailable
from pools.models import Pool
from pools.services import overview
from pools.services.advice import advice_judge
from pools.services.alert_deliveries import deliveries_send
from pools.services.alerting import alerts_watch
from pools.services.binding import binding_reconcile
from pools.services.books import books_answered, books_away, books_failed, books_failures, books_may_be_asked
from pools.services.bulk import bulk_step, bulk_waiting
from pools.services.documents import documents_refresh
from pools.services.drift import drift_measure
from pools.services.endpoints import endpoints_reconcile, endpoints_scrape, orphans_stop, pools_retiring
from pools.services.fairness_roll import fairness_roll
from pools.services.rollups import rollups_make
from pools.services.scaling import scaling_reconcile
from pools.services.shards import shard_pools
from pools.services.store import counters
from pools.services.tick import shard_tick
from pools.services.tier_schedule import tiers_reconcile
from pools.services.tier_spread import tiers_spread
from portal.lib import clock
from portal.lib.contention import contended
from portal.lib.errors import DomainError
from portal.lib.hot import hot
from portal.lib.locks import store_lock

log = logging.getLogger(__name__)
AWAY = (redis.RedisError, CounterUnavailable, DatabaseError)
TICK_LOCK_MS, LOCK_MS = 10_000, 60_000
BULK_S, BULK_BATCH = 10.0, 50
_silent: set[str] = set()


@contextmanager
def surviving(deed: str) -> Iterator[None]:
    """A store that is away, a row that somebody holds: logged once, not once a second; the next beat tries again."""
    try:
        yield
    except AWAY as error:
        if isinstance(error, DatabaseError) and not contended(error):
            books_failed()
        if deed not in _silent:
            _silent.add(deed)
            log.warning("%s waits: %s: %s", deed, type(error).__name__, str(error).partition("\n")[0])
    except DomainError as error:
        log.warning("%s was refused: %s", deed, error)
    else:
        if deed in _silent:
            _silent.discard(deed)
            log.warning("%s goes on", deed)


@contextmanager
def asking_books(deed: str) -> Iterator[bool]:
    """:func:`surviving` for a deed that needs the books; yields False, and the deed leaves it, while they are away."""
    may, failures = books_may_be_asked(), books_failures()
    with surviving(deed):
        yield may
        if may and books_failures() == failures:
            books_answered()


def each_pool(deed: str, shard: int, act: Callable[[int], Any], others: Sequence[int] = ()) -> None:
    """Acts on every pool of a shard, and on ``others``, under the pool's own lock; one's trouble is not another's."""
    with asking_books(deed) as may:
        for pool_id in (*shard_pools(shard), *others) if may else ():
            with surviving(f"{deed} of pool {pool_id}"), store_lock(hot(), f"{deed}:{pool_id}", LOCK_MS) as mine:
                if mine:
                    act(pool_id)


@shared_task
def tick(shard: int) -> None:
    """Limits every second; debts, bursts and samples every five. One shard adds up what all of them show."""
    with surviving("tick"), store_lock(hot(), f"tick:{shard}", TICK_LOCK_MS) as mine:
        if mine:
            shard_tick(shard, shard_pools(shard), clock.now())
            if shard == overview.SHARD:
                overview.overview_send(clock.now_ms())


@shared_task
def binding(shard: int) -> None:
    """Windows, leases, degraded promises."""
    each_pool("binding", shard, lambda pool_id: binding_reconcile(pool_id, clock.now()))


@shared_task
def endpoints(shard: int) -> None:
    """Start, watch, drain and stop replicas; publish routes."""
    if books_away():
        return  # binding tries them; without them no replica may be started or stopped
    with surviving("endpoints"):
        retiring = pools_retiring(shard)
        scrapes = endpoints_scrape([*shard_pools(shard), *retiring], clock.now())
        each_pool("endpoints", shard, lambda pool_id: endpoints_reconcile(pool_id, clock.now(), scrapes), retiring)


@shared_task
def scaling(shard: int) -> None:
    """How many replicas each pool should have."""
    each_pool("scaling", shard, lambda pool_id: scaling_reconcile(pool_id, clock.now()))


@shared_task
def reap(shard: int) -> None:
    """Close reservations whose gateway went away."""
    with surviving("reap"):
        for pool_id in shard_pools(shard):
            with surviving(f"reap of pool {pool_id}"):
                counters().reap(pool_id)


@shared_task
def bulk() -> None:
    """Bulk jobs, one batch of each in turn, until none waits or the time is up; the next beat goes on.

    A worker that dies loses its connection and with it the lock of its job: nothing has to expire first.
    """
    with asking_books("bulk") as may:
        end = time.monotonic() + BULK_S
        while may and (waiting := bulk_waiting()) and time.monotonic() < end:
            more = [bulk_step(job_id, clock.now(), batch=BULK_BATCH) for job_id in waiting]
            if not any(more):
                break


@shared_task
def documents() -> None:
    """Keys and pools as the books have them; everything anew when the hot store lost its data."""
    with asking_books("documents") as may, store_lock(hot(), "documents", LOCK_MS) as mine:
        if may and mine:
            documents_refresh(clock.now())


@shared_task
def tiers() -> None:
    """Terms that begin or end now, shadows whose time is over, terms that have not reached every pool yet."""
    with asking_books("tiers") as may, store_lock(hot(), "tiers", LOCK_MS) as mine:
        if may and mine:
            tiers_reconcile(clock.now())
            tiers_spread(clock.now())


@shared_task
def orphans() -> None:
    """Stop endpoint processes nobody owns."""
    with asking_books("orphans") as may, store_lock(hot(), "orphans", LOCK_MS) as mine:
        if may and mine:
            orphans_stop(list(Pool.objects.filter(archived_at__isnull=True)))


@shared_task
def fairness() -> None:
    """Five minutes and hours of fairness from the tick's samples."""
    with asking_books("fairness") as may, store_lock(hot(), "fairness", LOCK_MS) as mine:
        if may and mine:
            fairness_roll(clock.now())


@shared_task
def rollups() -> None:
    """Minutes and hours from samples; then the advice of hours that are over is judged."""
    with asking_books("rollups") as may, store_lock(hot(), "rollups", LOCK_MS) as mine:
        if may and mine:
            rollups_make(clock.now())
            advice_judge(clock.now())


@shared_task
def alerts() -> None:
    """Every rule against every pool; alerts open, clear and are owed to their channels."""
    with asking_books("alerts") as may, store_lock(hot(), "alerts", LOCK_MS) as mine:
        if may and mine:
            alerts_watch(clock.now())


@shared_task
def deliveries() -> None:
    """Messages of alerts that are due."""
    with asking_books("deliveries") as may, store_lock(hot(), "deliveries", LOCK_MS) as mine:
        if may and mine:
            deliveries_send(clock.now())


@shared_task
def drift(shard: int) -> None:
    """How far the counters are from the live reservations."""
    with surviving("drift"), store_lock(hot(), f"drift:{shard}", LOCK_MS) as mine:
        if mine:
            drift_measure(shard_pools(shard), clock.now())
