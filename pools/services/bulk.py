"""Bulk jobs: one deed on many entitlements, item by item, in the background.

An item is its own transaction: the change, its audit record, the item's result and the job's count are written together
or not at all. So a worker may die anywhere and the next one goes on with the first item that is still waiting. The hot
store is told once per pool and batch; ``published`` remembers up to where, for a worker that died before it told.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.models import F

from pools.models import BulkItem, BulkJob, Entitlement
from pools.models.jobs import ItemState, JobState
from pools.services.bulk_actions import UNDO, Action, act, action_of, shown
from pools.services.bulk_preview import digest_of, selected
from pools.services.publishing import Touched, gathered, publish_all
from portal.audit.models import Source
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

log = logging.getLogger(__name__)
BATCH = 100
LOCK_SPACE = 0x62756C6B  # advisory lock: one worker a job; it ends with the worker's connection
LIVING = (JobState.WAITING.value, JobState.RUNNING.value)


@recorded()
def bulk_start(
    *,
    actor: Actor,
    now: datetime,
    action: Action,
    rows: Sequence[Entitlement],
    digest: str,
    selection: dict[str, object] | None = None,
    reason: str = "",
) -> BulkJob:
    """Writes a job and its items; a worker finds it within a second or two.

    Raises DomainError ``reason_missing``, and ``selection_moved`` when the set is no longer the one that was previewed.
    """
    if not reason.strip():
        sentence = "Say why: the reason is kept in the history of every entitlement."
        raise DomainError("reason_missing", sentence, fields={"reason": sentence})
    if digest_of(rows) != digest:
        sentence = "Some of these entitlements changed since the preview: look at the fresh one below, then confirm."
        raise DomainError("selection_moved", sentence, status=412)
    job = BulkJob.objects.create(
        action=action.key,
        parameters=action.parameters,
        selection=selection or {},
        actor=actor.user,
        reason=reason.strip(),
        total=len(rows),
        created_at=now,
    )
    items = [BulkItem(job=job, entitlement=row, position=at) for at, row in enumerate(rows, 1)]
    BulkItem.objects.bulk_create(items, batch_size=2000)
    after = {"action": action.key, **action.parameters, "items": len(rows)}
    audit_record(actor=actor, verb="bulk_start", target=job, before={}, after=after, reason=job.reason, now=now)
    return job


@recorded()
def bulk_cancel(*, actor: Actor, now: datetime, job_id: int) -> BulkJob:
    """Asks a job to end after the item it is at; what was done stays done. Raises ``not_found``, ``ended``."""
    job = BulkJob.objects.select_for_update(no_key=True).filter(pk=job_id).first()
    if job is None:
        raise DomainError("not_found", f"There is no job {job_id}.", status=404)
    if job.state not in LIVING:
        raise DomainError("ended", f"Job #{job.pk} is {job.get_state_display().lower()} already.", status=409)
    if job.cancel_asked_at is None:
        job.cancel_asked_at = now
        job.save(update_fields=["cancel_asked_at"])
        audit_record(actor=actor, verb="bulk_cancel", target=job, before={}, after={}, reason="", now=now)
    return job


def bulk_undo(*, actor: Actor, now: datetime, job_id: int, reason: str = "") -> BulkJob:
    """A new job that puts back what a job at its end changed, item by item; what was changed again since is refused.

    Raises DomainError ``not_found``, ``not_undoable``, ``nothing_selected``.
    """
    job = BulkJob.objects.filter(pk=job_id).first()
    if job is None:
        raise DomainError("not_found", f"There is no job {job_id}.", status=404)
    if sentence := not_undoable(job, now):
        raise DomainError("not_undoable", sentence, status=409)
    action = action_of(UNDO, {"job": job.pk})
    rows = selected(action.done)
    return bulk_start(
        actor=actor,
        now=now,
        action=action,
        rows=rows,
        digest=digest_of(rows),
        selection={"job": job.pk},
        reason=reason.strip() or f"Undo of job #{job.pk}: {job.reason}",
    )


def not_undoable(job: BulkJob, now: datetime) -> str:
    """Why a job cannot be taken back, in a sentence; "" when it can. Three queries."""
    if job.state in LIVING:
        return f"Job #{job.pk} is not at its end; cancel it first."
    if job.action == UNDO and BulkJob.objects.filter(pk=job.parameters.get("job"), action="move").exists():
        return "A move that was taken back is made again as a move: select the entitlements and move them."
    if items_gone(job, now):
        return f"Results are kept for {settings.JOB_DAYS} days: what was before job #{job.pk} is no longer known."
    if not job.items.filter(state=ItemState.DONE).exists():
        return f"Job #{job.pk} changed nothing."
    other = BulkJob.objects.filter(action=UNDO, parameters__job=job.pk).exclude(state=JobState.FAILED).first()
    return f"Job #{job.pk} was undone already, by job #{other.pk}." if other is not None else ""


def items_gone(job: BulkJob, now: datetime) -> bool:
    """Whether a job's items are kept no more (see ``billing.services.retention``)."""
    return job.ended_at is not None and now - job.ended_at > timedelta(days=int(settings.JOB_DAYS))


def bulk_being_undone() -> list[int]:
    """Jobs that another one is taking back: it needs their items."""
    undoing = BulkJob.objects.filter(action=UNDO, state__in=LIVING).values_list("parameters__job", flat=True)
    return [int(job_id) for job_id in undoing]


def bulk_waiting() -> list[int]:
    """Ids of the jobs that are not at their end, oldest first."""
    return list(BulkJob.objects.filter(state__in=LIVING).order_by("pk").values_list("pk", flat=True))


def bulk_step(job_id: int, now: datetime, *, batch: int = BATCH) -> bool:
    """Does the next items of a job; True when there is more to do. Safe at any time, in any number of workers."""
    with _only_one(job_id) as mine:
        job = BulkJob.objects.select_related("actor").filter(pk=job_id, state__in=LIVING).first() if mine else None
        if job is None:
            return False
        if job.state == JobState.WAITING:
            BulkJob.objects.filter(pk=job_id).update(state=JobState.RUNNING, started_at=now, heartbeat_at=now)
        publish_all(_unpublished(job), now)
        items = list(job.items.filter(state=ItemState.WAITING).order_by("position")[:batch])
        try:
            action = action_of(job.action, job.parameters)
        except DomainError as error:  # the tier or pool went away meanwhile
            _end(job, JobState.FAILED, now, error.sentence)
            return False
        last = job.published
        with gathered() as touched:
            for item in items:
                if not _item(job, item, action, now):
                    break
                last = item.position
        publish_all(touched, now)
        BulkJob.objects.filter(pk=job_id).update(published=last, heartbeat_at=now)
        return not _ended(job, now)


def _item(job: BulkJob, item: BulkItem, action: Action, now: datetime) -> bool:
    """One item in one transaction; False when the job was cancelled instead."""
    actor = Actor(job.actor, Source.TASK)
    with recorded():
        asked = BulkJob.objects.filter(pk=job.pk).values_list("cancel_asked_at", flat=True).get()
        if asked is not None:
            return False
        row = Entitlement.objects.select_related("tenant", "tier", "pool").get(pk=item.entitlement_id)
        item.before = item.after = shown(row)
        try:
            with recorded():
                made = act(action, actor=actor, now=now, row=row, reason=f"{job.reason} (bulk job #{job.pk})")
                item.after = shown(made)
                item.sentence = made.slug if made.pk != row.pk else ""
                item.state = ItemState.DONE if item.after != item.before else ItemState.UNCHANGED
        except DomainError as error:
            item.state, item.sentence = ItemState.REFUSED, error.sentence[:500]
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # one odd item must not hold up the others for ever
            log.exception("bulk job #%s: entitlement %s", job.pk, item.entitlement_id)
            item.state, item.sentence = ItemState.REFUSED, f"Unexpected: {type(error).__name__}: {error}"[:500]
        item.save(update_fields=["state", "sentence", "before", "after"])
        refused = 1 if item.state == ItemState.REFUSED else 0
        BulkJob.objects.filter(pk=job.pk).update(
            finished=F("finished") + 1, refused=F("refused") + refused, heartbeat_at=now
        )
    return True


def _unpublished(job: BulkJob) -> Touched:
    """What an earlier worker changed and did not publish any more."""
    done = job.items.filter(position__gt=job.published, state=ItemState.DONE)
    touched: Touched = {}
    for pool_id, tenant_id in done.values_list("entitlement__pool_id", "entitlement__tenant_id"):
        touched.setdefault(pool_id, set()).add(tenant_id)
    if touched and job.action in ("move", UNDO):
        there = action_of(job.action, job.parameters).pool
        if there is not None:
            touched[there.pk] = set().union(*touched.values())
    return touched


def _ended(job: BulkJob, now: datetime) -> bool:
    if not job.items.filter(state=ItemState.WAITING).exists():
        _end(job, JobState.DONE, now)
        return True
    if BulkJob.objects.filter(pk=job.pk, cancel_asked_at__isnull=False).exists():
        _end(job, JobState.CANCELLED, now)
        return True
    return False


@recorded()
def _end(job: BulkJob, state: JobState, now: datetime, sentence: str = "") -> None:
    job.items.filter(state=ItemState.WAITING).update(state=ItemState.CANCELLED, sentence=sentence[:500])
    BulkJob.objects.filter(pk=job.pk).update(state=state, ended_at=now, heartbeat_at=now)


@contextmanager
def _only_one(job_id: int) -> Iterator[bool]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK_SPACE, job_id])
        mine = bool(cursor.fetchone()[0])
    try:
        yield mine
    finally:
        if mine and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCK_SPACE, job_id])
