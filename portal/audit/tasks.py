"""Celery's door to the verification of the audit chain."""

from __future__ import annotations

import logging

import redis
from celery import shared_task
from django.db import Error as DatabaseError

from portal.audit.verify import check_due, check_step
from portal.lib import clock
from portal.lib.hot import hot
from portal.lib.locks import store_lock

log = logging.getLogger(__name__)
LOCK_MS = 120_000


@shared_task
def verify() -> None:
    """The next slices of a nightly pass; nothing while none is due. A broken chain is an error in the log as well."""
    try:
        with store_lock(hot(), "audit-verify", LOCK_MS) as mine:
            if not mine or not check_due(clock.now()):
                return
            check = check_step(now=clock.now())
    except (redis.RedisError, DatabaseError) as error:
        log.warning("the audit chain waits to be verified: %s", type(error).__name__)
        return
    if check.broken_id is not None:
        log.error("the audit chain is broken: %s", check.sentence)
    elif check.ended_at is not None:
        log.info("audit chain verified: %s records up to #%s, %s", check.checked, check.head_id, check.head_hash)
