"""Celery's doors to usage, ledger, shadows, partitions and retention."""

from __future__ import annotations

import logging

from celery import shared_task

from billing.services.ledger import ledger_post
from billing.services.partitions import partitions_drop, partitions_make
from billing.services.retention import retention_purge
from billing.services.shadow import shadows_evaluate
from billing.services.usage import usage_drain
from pools.models import Pool
from pools.services.rollups import rollups_done
from pools.tasks import LOCK_MS, asking_books, surviving
from portal.lib import clock
from portal.lib.hot import hot
from portal.lib.locks import store_lock

log = logging.getLogger(__name__)


@shared_task
def usage() -> None:
    """Settled requests, into the books. Archived pools too, until their streams are empty."""
    with asking_books("usage") as may:
        if not may:
            return
        for pool_id in Pool.objects.order_by("pk").values_list("pk", flat=True):
            deed = f"usage:{pool_id}"
            with surviving(deed), store_lock(hot(), deed, LOCK_MS) as mine:
                if mine:
                    usage_drain(pool_id, clock.now())


@shared_task
def ledger() -> None:
    """Debts, from samples into the ledger."""
    with asking_books("ledger") as may:
        if may:
            ledger_post(clock.now())


@shared_task
def shadow() -> None:
    """What tiers in shadow would have refused."""
    with asking_books("shadow") as may, store_lock(hot(), "shadow", LOCK_MS) as mine:
        if may and mine:
            shadows_evaluate(clock.now())


@shared_task
def retention() -> None:
    """Rows that are over and were kept long enough, some at a time."""
    with asking_books("retention") as may, store_lock(hot(), "retention", LOCK_MS) as mine:
        if may and mine and (removed := retention_purge(clock.now())):
            log.info("kept long enough, removed: %s", ", ".join(f"{count} {name}" for name, count in removed.items()))


@shared_task
def partitions() -> None:
    """Tomorrow's partitions; and those nobody needs any more go, once all that reads them has done so."""
    with asking_books("partitions") as may:
        if not may:
            return
        moment = clock.now()
        partitions_make(moment)
        ledger_post(moment)
        if rollups_done(moment):
            partitions_drop(moment)
