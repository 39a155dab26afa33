"""Bulk jobs: the list one finds them again in, one with its progress and per-item results, cancel, undo, report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from pools.models import BulkItem, BulkJob
from pools.models.jobs import ItemState, JobState
from pools.services.bulk import LIVING, bulk_cancel, bulk_undo, items_gone, not_undoable
from pools.services.bulk_actions import ACTIONS, UNDO
from pools.web.bulk import LABELS
from pools.web.lists import cut
from portal.accounts.access import operates, reads_everything
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.given import number_of, reason_of
from portal.lib.pages import note, page, refusal_noted
from portal.lib.tables import csv_answer

ITEMS = 100
STOP_POLLING = 286
"""What htmx takes as: here is the last answer, ask no more."""
REPORT_HEAD = ["position", "entitlement", "tenant", "pool", "result", "sentence", "changed", "before", "after"]
LOOKS = {
    ItemState.WAITING: "pending",
    ItemState.DONE: "ok",
    ItemState.UNCHANGED: "stopped",
    ItemState.REFUSED: "failed",
    ItemState.CANCELLED: "stopped",
}
JOB_LOOKS = {
    JobState.WAITING: "pending",
    JobState.RUNNING: "starting",
    JobState.DONE: "ok",
    JobState.CANCELLED: "stopped",
    JobState.FAILED: "failed",
}


@reads_everything
@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    """Every job, newest first; those that run are followed while one looks."""
    state = request.GET.get("state", "")
    rows = BulkJob.objects.select_related("actor")
    if state in JobState.values:
        rows = rows.filter(state=state)
    found = cut(rows, request, newest_first=True)
    context = {
        **found,
        "rows": [(job, label_of(job), JOB_LOOKS[JobState(job.state)]) for job in found["rows"]],
        "nav": "entitlements",
        "state": state,
        "states": JobState.choices,
        "running": any(job.state in LIVING for job in found["rows"]),
    }
    template = "pools/_job_rows.html" if request.headers.get("HX-Request") else "pools/jobs.html"
    return page(request, template, context)


def label_of(job: BulkJob) -> str:
    """What a job does, in a few words."""
    if job.action == UNDO:
        return f"Undo of job #{job.parameters.get('job')}"
    given = ", ".join(str(value) for value in job.parameters.values() if value)
    return f"{ACTIONS.get(job.action, job.action)}{f': {given}' if given else ''}"


@reads_everything
@require_safe
def job(request: HttpRequest, job_id: int) -> HttpResponse:
    """One job: how far it is, what became of each item."""
    found = get_object_or_404(BulkJob.objects.select_related("actor"), pk=job_id)
    context = {"nav": "entitlements", **progress_context(found, now()), **items_context(request, found)}
    return page(request, "pools/job.html", context)


@reads_everything
@require_safe
def progress(request: HttpRequest, job_id: int) -> HttpResponse:
    """The part that is fetched every second while the job runs; the last one tells the page to show the results."""
    found = get_object_or_404(BulkJob.objects.select_related("actor"), pk=job_id)
    if found.state in LIVING:
        return page(request, "pools/_job_progress.html", progress_context(found, now()))
    answer = page(request, "pools/_job_progress.html", progress_context(found, now()), status=STOP_POLLING)
    answer["HX-Trigger"] = "job-ended"
    return answer


@reads_everything
@require_safe
def items(request: HttpRequest, job_id: int) -> HttpResponse:
    """The table of results alone."""
    found = get_object_or_404(BulkJob, pk=job_id)
    return page(request, "pools/_job_items.html", {**progress_context(found, now()), **items_context(request, found)})


def progress_context(found: BulkJob, moment: datetime) -> dict[str, Any]:
    """What the progress says."""
    ended = found.state not in LIVING
    left_s = None
    if found.started_at is not None and found.finished and not ended:
        passed = max(0.5, (moment - found.started_at).total_seconds())
        left_s = round(passed / found.finished * (found.total - found.finished))
    return {
        "job": found,
        "label": label_of(found),
        "look": JOB_LOOKS[JobState(found.state)],
        "ended": ended,
        "left_s": left_s,
        "items_gone": items_gone(found, moment),
        "asked": found.cancel_asked_at is not None,
        "kept_because": not_undoable(found, moment) if ended else "",
        "silent": not ended and found.started_at is None and (moment - found.created_at).total_seconds() > 15,
    }


def items_context(request: HttpRequest, found: BulkJob) -> dict[str, Any]:
    """One page of items, by position, refused ones on demand."""
    state, after = request.GET.get("result", ""), request.GET.get("after", "")
    rows = BulkItem.objects.filter(job=found).select_related("entitlement__tenant", "entitlement__pool")
    if state in ItemState.values:
        rows = rows.filter(state=state)
    if (place := number_of(after, 9)) is not None:
        rows = rows.filter(position__gt=place)
    shown = list(rows.order_by("position")[: ITEMS + 1])
    return {
        "items": [(item, LOOKS[ItemState(item.state)], differences(item)) for item in shown[:ITEMS]],
        "next": shown[ITEMS - 1].position if len(shown) > ITEMS else None,
        "paged": bool(after),
        "result": state,
        "results": ItemState.choices,
    }


def differences(item: BulkItem) -> list[tuple[str, str, Any, Any]]:
    """(label, key, before, after) of what an item changed."""
    return [
        (LABELS.get(key, key), key, item.before.get(key), value)
        for key, value in item.after.items()
        if item.before.get(key) != value
    ]


@operates
@require_POST
def cancel(request: HttpRequest, job_id: int) -> HttpResponseBase:
    """Ends a job after the item it is at."""
    with refusal_noted(request):
        bulk_cancel(actor=page_actor(request), now=now(), job_id=job_id)
        note(request, f"Job #{job_id} ends after the entitlement it is at; what was done stays done.")
    return redirect("bulk-job", job_id=job_id)


@operates
@require_POST
def undo(request: HttpRequest, job_id: int) -> HttpResponseBase:
    """Takes a job back, as a job of its own."""
    with refusal_noted(request):
        made = bulk_undo(actor=page_actor(request), now=now(), job_id=job_id, reason=reason_of(request))
        back = reverse("bulk-job-cancel", args=[made.pk])
        note(request, f"Job #{made.pk} puts back what job #{job_id} changed.", undo=back)
        return redirect("bulk-job", job_id=made.pk)
    return redirect("bulk-job", job_id=job_id)


@reads_everything
@require_safe
def report(request: HttpRequest, job_id: int) -> HttpResponse:
    """Every item with its result as CSV."""
    found = get_object_or_404(BulkJob, pk=job_id)
    rows = BulkItem.objects.filter(job=found).order_by("position")
    values = rows.values_list(
        "position", "entitlement__slug", "entitlement__tenant__slug", "entitlement__pool__slug", "state", "sentence",
        "before", "after",
    )  # fmt: skip
    return csv_answer(f"job-{found.pk}", REPORT_HEAD, _report(values.iterator(chunk_size=2000)))


def _report(values: Iterator[tuple[Any, ...]]) -> Iterator[list[Any]]:
    for *head, before, after in values:
        changed = [key for key in after if before.get(key) != after[key]]
        yield [
            *head,
            " ".join(changed),
            " ".join(f"{key}={before.get(key)}" for key in changed),
            " ".join(f"{key}={after[key]}" for key in changed),
        ]
