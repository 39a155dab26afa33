"""A rolling restart of real replicas whose worker is killed without a word: the next worker goes on where it stood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pools.models import Endpoint, RollingRestart
from pools.services.endpoint_rolling import rolling_start
from portal.audit.models import AuditRecord
from portal.lib.clock import now
from tests.cast import OLGA, pool_make
from tests.flows.conftest import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(300)]
WORKER = (
    "worker",
    "--pool",
    "threads",
    "--concurrency",
    "4",
    "--queues",
    "tick,scaling,usage,default",
    "--without-mingle",
    "--without-gossip",
)


def ready() -> set[str]:
    return set(Endpoint.objects.filter(state="ready").values_list("name", flat=True))


def test_a_killed_worker_leaves_nothing_half_done(celery: Callable[..., Any], valkey: object) -> None:
    pool = pool_make(min_replicas=2, provider_config={"cold_start_s": 0.2})
    first = celery(*WORKER)
    celery("beat")
    until(lambda: len(ready()) == 2, 60, "both replicas are ready")
    before = ready()
    rolling_start(actor=OLGA, now=now(), pool_id=pool.pk, reason="new driver")
    until(lambda: RollingRestart.objects.get().current_id is not None, 30, "the first endpoint is away")
    first.kill()
    first.wait()
    assert RollingRestart.objects.get().state == "running"
    celery(*WORKER)
    until(lambda: RollingRestart.objects.get().state != "running", 150, "the second worker ends it")
    done = RollingRestart.objects.get()
    assert (done.state, done.said, done.passed_over) == ("done", "2 of 2 were restarted.", 0)
    until(lambda: len(ready()) == 2, 30, "the pool is whole")
    assert not ready() & before, "each is another one now"
    asked = AuditRecord.objects.filter(verb="endpoint_draining", reason__contains="Rolling restart")
    assert asked.count() == 2, "each was asked once"
