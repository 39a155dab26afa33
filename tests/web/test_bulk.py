"""Bulk edit in the browser's terms: select, preview, confirm, follow, report, undo."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from pools.models import BulkJob, Entitlement
from pools.models.jobs import JobState
from pools.services.bulk import bulk_step
from portal.accounts.models import User
from portal.lib.clock import now
from tests.cast import pool_make
from tests.web.conftest import Everybody
from tests.web.test_entitlements import said

As = Callable[[User | None], Client]
ALL = {"all": "1", "class": "elastic"}


@pytest.fixture
def olga(everybody: Everybody, as_: As) -> Client:
    return as_(everybody.olga)


def digest(answer: HttpResponse) -> str:
    found = re.search(r'name="digest" value="(\w+)"', answer.content.decode())
    assert found is not None, said(answer)
    return found.group(1)


def begin(client: Client, **given: str) -> HttpResponse:
    seen = digest(client.post("/entitlements/bulk/preview/", given))
    return client.post("/entitlements/bulk/start/", {"digest": seen, "reason": "spring", **given})


def test_preview_then_confirm_then_a_job(everybody: Everybody, olga: Client) -> None:
    assert "Nothing happens before you confirm" in said(olga.get("/entitlements/bulk/?all=1&class=elastic"))
    seen = said(olga.post("/entitlements/bulk/preview/", {**ALL, "action": "scale", "factor": "1.2"}))
    assert "1 would change" in seen and "slots 5 → 6" in seen and "tokens/s 75 → 90" in seen
    answer = begin(olga, **ALL, action="scale", factor="1.2")
    job = BulkJob.objects.get()
    assert answer["Location"] == f"/entitlements/jobs/{job.pk}/"
    assert job.selection == {"filter": "all=1&class=elastic"} and job.total == 1
    assert "0 of 1" in said(olga.get(answer["Location"]))
    assert olga.get(f"/entitlements/jobs/{job.pk}/progress/").status_code == 200
    bulk_step(job.pk, now())
    ended = olga.get(f"/entitlements/jobs/{job.pk}/progress/")
    assert ended.status_code == 286 and ended["HX-Trigger"] == "job-ended", "htmx asks no more"
    assert "all 1 looked at, none refused" in said(ended)
    assert "slots 5 → 6" in said(olga.get(f"/entitlements/jobs/{job.pk}/items/"))
    assert f"#{job.pk} Scale base" in said(olga.get("/entitlements/jobs/"))


def test_a_filter_and_the_target_of_an_action_do_not_meet(everybody: Everybody, olga: Client) -> None:
    """Both are tiers and pools: an empty target must not widen what was selected."""
    pool_make("chat-70b", max_replicas=3)
    page = olga.get("/entitlements/bulk/?all=1&pool=chat-8b&tier=elastic").content.decode()
    names = re.findall(r'<(?:input|select)[^>]* name="(\w+)"', page)
    assert names.count("pool") == names.count("tier") == 1 and {"to_pool", "to_tier"} <= set(names)
    given = {"all": "1", "pool": "chat-8b", "tier": "elastic", "to_tier": "", "to_pool": "chat-70b"}
    seen = said(olga.post("/entitlements/bulk/preview/", {**given, "action": "move"}))
    assert "1 would change" in seen and "pool chat-8b → chat-70b" in seen


def test_single_ones_by_id(everybody: Everybody, olga: Client) -> None:
    world = everybody.world
    answer = begin(olga, ids=f"{world.eve.pk}.{world.bob.pk}", action="end", until="2031-01-01T00:00")
    assert answer.status_code == 302 and BulkJob.objects.get().total == 2


def test_stopping_deeds_want_the_number_typed(everybody: Everybody, olga: Client) -> None:
    refused = begin(olga, **ALL, action="suspend", confirm="2")
    assert refused.status_code == 422 and "Type 1, the number of entitlements" in said(refused)
    assert not BulkJob.objects.exists()
    assert begin(olga, **ALL, action="suspend", confirm="1").status_code == 302


def test_what_is_missing_is_said_and_kept(everybody: Everybody, olga: Client) -> None:
    for given, words in (
        ({"action": "scale", "factor": "zero"}, "The factor is a number"),
        ({"action": "tier"}, "Choose a tier"),
        ({}, "The action is one of"),
    ):
        answer = olga.post("/entitlements/bulk/start/", {**ALL, "digest": "x", "reason": "spring", **given})
        assert answer.status_code == 422 and words in said(answer) and 'value="spring"' in answer.content.decode()
    seen = digest(olga.post("/entitlements/bulk/preview/", {**ALL, "action": "resume"}))
    answer = olga.post("/entitlements/bulk/start/", {**ALL, "action": "resume", "digest": seen})
    assert answer.status_code == 422 and 'href="#id_reason"' in answer.content.decode()
    assert "Look at the preview first" in said(olga.post("/entitlements/bulk/start/", {**ALL, "action": "resume"}))


def test_a_set_that_moved_is_shown_afresh(everybody: Everybody, olga: Client) -> None:
    given = {**ALL, "action": "scale", "factor": "1.2"}
    seen = digest(olga.post("/entitlements/bulk/preview/", given))
    Entitlement.objects.filter(pk=everybody.world.eve.pk).update(revision=9, base_concurrency=4)
    answer = olga.post("/entitlements/bulk/start/", {**given, "digest": seen, "reason": "spring"})
    assert answer.status_code == 412 and "changed since the preview" in said(answer)
    assert "slots 4 → 5" in said(answer) and digest(answer) != seen
    assert not BulkJob.objects.exists()


def test_nothing_selected_goes_back_with_a_word(everybody: Everybody, olga: Client) -> None:
    assert "Select at least one" in said(olga.get("/entitlements/bulk/", follow=True))
    assert "Select at least one" in said(olga.get("/entitlements/bulk/?all=1&q=nobody", follow=True))


def test_cancel_report_and_undo(everybody: Everybody, olga: Client) -> None:
    begin(olga, all="1", action="end", until="2031-01-01T00:00")
    job = BulkJob.objects.get()
    bulk_step(job.pk, now(), batch=1)
    assert "ends after the entitlement it is at" in said(olga.post(f"/entitlements/jobs/{job.pk}/cancel/", follow=True))
    bulk_step(job.pk, now())
    page = said(olga.get(f"/entitlements/jobs/{job.pk}/"))
    assert "cancelled after 1 of 3" in page and "Undo this job" in page
    assert "cancelled already" in said(olga.post(f"/entitlements/jobs/{job.pk}/cancel/", follow=True))
    report = olga.get(f"/entitlements/jobs/{job.pk}/report.csv")
    head, *lines = csv.reader(io.StringIO(report.content.decode()))
    assert head[4] == "result" and [line[4] for line in lines] == ["done", "cancelled", "cancelled"]
    assert lines[0][6] == "valid_until" and "2031-01-01" in lines[0][8]
    olga.post(f"/entitlements/jobs/{job.pk}/undo/")
    back = BulkJob.objects.latest("pk")
    bulk_step(back.pk, now())
    back.refresh_from_db()
    assert (back.state, back.total) == (JobState.DONE, 1)
    assert not Entitlement.objects.filter(valid_until__isnull=False).exists()
    assert "was undone already" in said(olga.post(f"/entitlements/jobs/{job.pk}/undo/", follow=True))
    shown = said(olga.get(f"/entitlements/jobs/{job.pk}/?result=cancelled"))
    assert "Not done: cancelled" in shown


def test_a_job_nobody_takes_up_says_so(everybody: Everybody, as_: As, olga: Client) -> None:
    begin(olga, **ALL, action="scale", factor="1.2")
    BulkJob.objects.update(created_at=everybody.world.pool.created_at)
    job = BulkJob.objects.get()
    assert "No worker has taken it up yet" in said(olga.get(f"/entitlements/jobs/{job.pk}/"))
    ada = as_(everybody.ada)
    seen = ada.get(f"/entitlements/jobs/{job.pk}/").content.decode()
    assert "Cancel the rest" not in seen and "report.csv" in seen, "auditors read the report and stop nothing"
    assert olga.get("/entitlements/jobs/999/").status_code == 404


def test_a_job_whose_results_are_kept_no_longer_says_so(everybody: Everybody, as_: As, settings: Any) -> None:
    job = BulkJob.objects.create(
        action="suspend", state="done", total=1, finished=1, ended_at=now() - timedelta(days=999)
    )
    text = as_(everybody.olga).get(f"/entitlements/jobs/{job.pk}/").content.decode()
    assert "kept no longer; the audit trail has every change" in text
    assert f"Results are kept for {settings.JOB_DAYS} days" in text and "Undo this job" not in text
