"""A bulk job whose worker is killed without a word: the next worker goes on where it stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from pools.models import BulkJob, Entitlement
from pools.models.jobs import JobState
from pools.services.bulk import bulk_start
from pools.services.bulk_actions import action_of
from pools.services.bulk_preview import digest_of
from portal.audit.models import AuditRecord
from portal.lib.clock import now
from tests.cast import OLGA
from tests.flows.conftest import until
from tests.services.test_bulk import crowd

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(240)]
WORKER = (
    "worker",
    "--pool",
    "threads",
    "--concurrency",
    "2",
    "--queues",
    "default",
    "--without-mingle",
    "--without-gossip",
)
MANY = 300


def finished(job: BulkJob) -> int:
    return BulkJob.objects.values_list("finished", flat=True).get(pk=job.pk)


def test_a_killed_worker_loses_nothing_and_repeats_nothing(celery: Callable[..., Any], valkey: object) -> None:
    rows = crowd(MANY)
    action = action_of("scale", {"factor": "2"})
    job = bulk_start(actor=OLGA, now=now(), action=action, rows=rows, digest=digest_of(rows), reason="sale")
    first = celery(*WORKER)
    celery("beat")
    until(lambda: finished(job) > 20, 90, "the first worker is at it")
    first.kill()
    first.wait()
    so_far = finished(job)
    assert 0 < so_far < MANY
    celery(*WORKER)
    until(lambda: BulkJob.objects.get(pk=job.pk).state == JobState.DONE, 120, "the second worker finishes it")
    assert finished(job) == MANY
    assert Counter(Entitlement.objects.values_list("base_concurrency", flat=True)) == {2: MANY}, "nobody twice"
    assert AuditRecord.objects.filter(verb="entitlement_change").count() == MANY
    assert job.items.filter(state="done").count() == MANY
