"""The Celery app and the beat table: what runs how often, and why. Task bodies live in the domains.

Beats carry an expiry: a worker that was away finds the present beat, never a pile of old ones.
"""

from __future__ import annotations

import gc
import os
import time
from typing import Any, NamedTuple

from celery import Celery, Task, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.conf import settings

from portal.lib.clock import now_ms
from portal.lib.hot import hot
from portal.lib.pulse import Ran, task_ran


class Beat(NamedTuple):
    """One line of the table. ``sharded``: one task for each shard of pools."""

    task: str
    every_s: float
    queue: str
    sharded: bool
    why: str


BEATS = (
    Beat("pools.tasks.tick", 1, "tick", True, "limits must follow demand within a second or two"),
    Beat("pools.tasks.reap", 1, "usage", True, "a slot held by a gateway that died is free a second after its lease"),
    Beat("billing.tasks.usage", 1, "usage", False, "pages and books show a request a second or two after it ended"),
    Beat("pools.tasks.endpoints", 2, "scaling", True, "a replica that comes or goes changes capacity at once"),
    Beat("pools.tasks.binding", 2, "scaling", True, "a lease is bound soon after its capacity is ready"),
    Beat("pools.tasks.scaling", 5, "scaling", True, "windows of 30 s and more need no finer look"),
    Beat("pools.tasks.bulk", 1, "default", False, "a bulk edit begins a second after it was confirmed"),
    Beat("pools.tasks.documents", 5, "default", False, "repairs what a deed could not publish; notices a lost store"),
    Beat("pools.tasks.tiers", 1, "default", False, "planned terms begin and end on time; big tiers reach their pools"),
    Beat("billing.tasks.shadow", 15, "default", False, "a minute of a shadow can be read soon after it ended"),
    Beat("billing.tasks.ledger", 10, "usage", False, "debts are posted from samples of five seconds"),
    Beat("pools.tasks.orphans", 60, "default", False, "no endpoint runs that nobody owns"),
    Beat("pools.tasks.fairness", 60, "default", False, "a month of who lent to whom is read from hours"),
    Beat("pools.tasks.rollups", 60, "default", False, "a month of history is read from hours, not from samples"),
    Beat("pools.tasks.alerts", 5, "default", False, "an alert opens a few seconds after its crossing has lasted"),
    Beat("pools.tasks.deliveries", 2, "default", False, "a message leaves at once and is tried again when it is due"),
    Beat("pools.tasks.drift", 30, "default", True, "counters that left the books are noticed within a minute"),
    Beat("portal.audit.tasks.verify", 60, "default", False, "the audit chain is verified each night, bit by bit"),
    Beat("billing.tasks.retention", 600, "default", False, "what is over and was kept long enough goes, bit by bit"),
    Beat("billing.tasks.partitions", 3600, "default", False, "tomorrow's partitions exist before tomorrow"),
)


COLLECT = (100_000, 20, 20)
"""The worker's thresholds of the cyclic garbage collector."""


def schedule(beats: tuple[Beat, ...], shards: int) -> dict[str, dict[str, Any]]:
    """Celery's beat schedule: one entry a beat, or one a beat and shard."""
    entries: dict[str, dict[str, Any]] = {}
    for beat in beats:
        for shard in range(shards if beat.sharded else 1):
            entries[f"{beat.task}-{shard}" if beat.sharded else beat.task] = {
                "task": beat.task,
                "schedule": beat.every_s,
                "args": (shard,) if beat.sharded else (),
                "options": {"queue": beat.queue, "expires": max(2.0, min(beat.every_s * 2, 60.0))},
            }
    return entries


@signals.worker_init.connect
def collect_seldom(**_: Any) -> None:
    """A tick makes a few objects per entitlement and drops them all at its end: looking among them for cycles every 700
    allocations, as CPython does, took two fifths of a large tick."""
    gc.set_threshold(*COLLECT)


class NotedTask(Task):  # type: ignore[type-arg]
    """A task whose runs can be seen on the System page: when, how long, by whom."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs it and notes the run under the name it has in the beat table."""
        began, ok = time.monotonic(), False
        try:
            result = self.run(*args, **kwargs)
            ok = True
            return result
        finally:
            name = f"{self.name}-{args[0]}" if args else self.name
            took_ms = round((time.monotonic() - began) * 1000)
            task_ran(hot(), Ran(name, now_ms(), took_ms, ok, str(self.request.hostname or "here")))


app = Celery("portal", task_cls=NotedTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = schedule(BEATS, settings.TICK_SHARDS)
app.conf.beat_reasons = {beat.task: beat.why for beat in BEATS}
app.conf.task_routes = {beat.task: {"queue": beat.queue} for beat in BEATS}
app.autodiscover_tasks()
