"""Bulk jobs: each item whole or not at all, cancelled between items, taken up after a crash, told once per pool."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pools import tasks
from pools.choices import EntitlementState
from pools.models import BulkItem, BulkJob, Entitlement, Pool, Tier
from pools.models.jobs import ItemState, JobState
from pools.services import bulk
from pools.services.bulk import bulk_cancel, bulk_start, bulk_step, bulk_waiting
from pools.services.bulk_actions import action_of
from pools.services.bulk_preview import bulk_preview, digest_of, selected
from pools.services.entitlements import entitlement_change
from portal.accounts.models import Tenant
from portal.audit.models import AuditRecord
from portal.lib.errors import DomainError
from tests.cast import NOW, OLGA, SLOT_KV, later, pool_make, replica_ready, slots, tenant_make, tier_make


def crowd(count: int, pool: Pool | None = None, tier: Tier | None = None) -> list[Entitlement]:
    """Elastic entitlements of one slot each, written straight into the books."""
    pool = pool or pool_make(max_replicas=200)
    tier = tier or tier_make("elastic")
    tenants = Tenant.objects.bulk_create(
        [Tenant(slug=f"team-{n}", name=f"Team {n}", created_at=NOW) for n in range(count)]
    )
    Entitlement.objects.bulk_create(
        [
            Entitlement(
                slug=f"{tenant.slug}-{pool.slug}",
                tenant=tenant,
                pool=pool,
                tier=tier,
                base_tokens_per_second=15,
                base_kv_bytes=SLOT_KV,
                base_concurrency=1,
                state=EntitlementState.BOUND.value,
                valid_from=NOW,
            )
            for tenant in tenants
        ]
    )
    return selected(Entitlement.objects.values_list("pk", flat=True))


def start(rows: list[Entitlement], key: str, **parameters: str) -> BulkJob:
    action = action_of(key, parameters)
    return bulk_start(actor=OLGA, now=NOW, action=action, rows=rows, digest=digest_of(rows), reason="spring sale")


def run(job: BulkJob, **options: Any) -> BulkJob:
    while bulk_step(job.pk, later(5), **options):
        pass
    job.refresh_from_db()
    return job


def states(job: BulkJob) -> dict[str, int]:
    found: dict[str, int] = {}
    for state in job.items.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_thousand_with_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = crowd(1000)
    for row in rows[:10]:
        Entitlement.objects.filter(pk=row.pk).update(state=EntitlementState.EXPIRED.value)
    told: list[int] = []
    monkeypatch.setattr("pools.services.publishing.pool_publish", lambda pool_id, now, keys_of: told.append(pool_id))
    rows = selected(row.pk for row in rows)
    job = start(rows, "scale", factor="1.5")
    job = run(job)
    assert (job.state, job.total, job.finished, job.refused) == (JobState.DONE, 1000, 1000, 10)
    assert states(job) == {"done": 990, "refused": 10}
    assert set(Entitlement.objects.exclude(state="expired").values_list("base_tokens_per_second", flat=True)) == {23}
    assert set(Entitlement.objects.filter(state="expired").values_list("base_tokens_per_second", flat=True)) == {15}
    assert len(told) <= 10, "once per pool and batch, not once per item"
    assert AuditRecord.objects.filter(verb="entitlement_change", reason__contains=f"#{job.pk}").count() == 990


def test_what_does_not_fit_is_refused_one_by_one_and_the_rest_is_done() -> None:
    pool = pool_make(max_replicas=1)
    replica_ready(pool)
    rows = crowd(10, pool)
    preview = bulk_preview(action_of("scale", {"factor": "2"}), rows, NOW)
    assert preview.counts == {"refused": 0, "change": 10, "unchanged": 0}
    assert preview.pools[0].fit.verdict == "never" and "4 sequences short" in preview.pools[0].fit.sentence
    job = run(start(rows, "scale", factor="2"))
    assert states(job) == {"done": 6, "refused": 4}
    refused = job.items.filter(state=ItemState.REFUSED).first()
    assert refused is not None and "cannot promise this" in refused.sentence
    assert refused.before == refused.after


def test_cancel_is_honoured_between_items() -> None:
    rows = crowd(30)
    job = start(rows, "suspend")
    assert bulk_step(job.pk, NOW, batch=10)
    bulk_cancel(actor=OLGA, now=NOW, job_id=job.pk)
    job = run(job)
    assert job.state == JobState.CANCELLED
    assert states(job) == {"done": 10, "cancelled": 20}
    assert Entitlement.objects.filter(state="suspended").count() == 10
    with pytest.raises(DomainError, match="cancelled already"):
        bulk_cancel(actor=OLGA, now=NOW, job_id=job.pk)


def test_a_worker_that_dies_leaves_no_item_half_written_and_the_next_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = crowd(12)
    job = start(rows, "scale", factor="2")
    told: list[set[int]] = []
    monkeypatch.setattr(
        "pools.services.publishing.pool_publish", lambda pool_id, now, keys_of: told.append(set(keys_of))
    )
    real, seen = bulk.act, []

    def dies(*args: Any, **named: Any) -> Entitlement:
        made = real(*args, **named)
        seen.append(named["row"].pk)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(bulk, "act", dies)
    with pytest.raises(KeyboardInterrupt):
        bulk_step(job.pk, NOW)
    job.refresh_from_db()
    assert (job.state, job.finished, told) == (JobState.RUNNING, 5, []), "the sixth was rolled back whole"
    assert Entitlement.objects.filter(base_concurrency=2).count() == 5
    assert bulk_waiting() == [job.pk]
    job = run(job)
    assert (job.state, job.finished) == (JobState.DONE, 12)
    assert set(Entitlement.objects.values_list("base_concurrency", flat=True)) == {2}, "nobody was scaled twice"
    assert told[0] == {row.tenant_id for row in rows[:5]}, "what the dead worker had not told is told first"
    assert not bulk_step(job.pk, NOW), "a job at its end does nothing more"


def test_the_job_of_another_worker_is_left_alone() -> None:
    job = start(crowd(3), "suspend")
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [bulk.LOCK_SPACE, job.pk])
            assert not bulk_step(job.pk, NOW)
            assert states(job) == {"waiting": 3}
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [bulk.LOCK_SPACE, job.pk])
    finally:
        other.close()
    assert not bulk_step(job.pk, NOW) and states(job) == {"done": 3}


def test_a_set_that_moved_since_the_preview_is_refused() -> None:
    rows = crowd(3)
    old = digest_of(rows)
    Entitlement.objects.filter(pk=rows[0].pk).update(revision=2)
    fresh = selected(row.pk for row in rows)
    with pytest.raises(DomainError) as refused:
        bulk_start(actor=OLGA, now=NOW, action=action_of("suspend", {}), rows=fresh, digest=old, reason="x")
    assert refused.value.code == "selection_moved" and not BulkJob.objects.exists()


def test_tier_end_resume_and_move() -> None:
    rows = crowd(4)
    gold = tier_make("elastic", "gold")
    assert states(run(start(rows, "tier", tier="gold"))) == {"done": 4}
    assert set(Entitlement.objects.values_list("tier_id", flat=True)) == {gold.pk}
    rows = selected(row.pk for row in rows)
    assert states(run(start(rows, "tier", tier="gold"))) == {"unchanged": 4}
    assert states(run(start(rows, "end", until="2026-12-31T00:00"))) == {"done": 4}
    rows = selected(row.pk for row in rows)
    assert states(run(start(rows, "resume"))) == {"refused": 4}
    there = pool_make("chat-70b", max_replicas=1)
    replica_ready(there, 9)
    job = run(start(selected(row.pk for row in rows), "move", pool="chat-70b"))
    assert states(job) == {"done": 4}
    assert Entitlement.objects.filter(pool=there, state="pending").count() == 4
    assert Entitlement.objects.exclude(pool=there).exclude(state="expired").count() == 0
    item = BulkItem.objects.filter(job=job).first()
    assert item is not None and item.sentence.endswith("chat-70b") and item.after["pool"] == "chat-70b"


def test_the_preview_of_many_asks_few_queries() -> None:
    rows = crowd(50)
    with CaptureQueriesContext(connection) as seen:
        preview = bulk_preview(action_of("scale", {"factor": "1.1"}), rows, NOW)
    assert len(seen) <= 3 and len(preview.items) == 50


@pytest.mark.parametrize(
    ("key", "parameters", "field"),
    [
        ("scale", {"factor": "0"}, "factor"),
        ("scale", {"factor": "NaN"}, "factor"),
        ("scale", {"factor": "nine"}, "factor"),
        ("tier", {"tier": "none"}, "tier"),
        ("move", {}, "pool"),
        ("end", {"until": "tomorrow"}, "until"),
        ("delete", {}, "action"),
    ],
)
def test_bad_parameters_are_named(key: str, parameters: dict[str, str], field: str) -> None:
    with pytest.raises(DomainError) as refused:
        action_of(key, parameters)
    assert set(refused.value.fields) == {field}


def test_a_reserved_promise_scaled_to_nothing_is_refused_in_the_preview() -> None:
    pool = pool_make(max_replicas=2)
    rows = crowd(2, pool, tier_make("guaranteed"))
    preview = bulk_preview(action_of("scale", {"factor": "0.01"}), rows, NOW)
    assert preview.counts["refused"] == 2 and "above 0" in preview.items[0].sentence
    assert slots(1).concurrency == 1 and tenant_make("x").pk


def undone(job: BulkJob) -> BulkJob:
    return run(bulk.bulk_undo(actor=OLGA, now=later(9), job_id=job.pk))


def test_a_job_is_undone_by_a_job_and_that_one_too() -> None:
    rows = crowd(5)
    job = run(start(rows, "scale", factor="3"))
    back = undone(job)
    assert states(back) == {"done": 5} and back.reason == f"Undo of job #{job.pk}: spring sale"
    assert set(Entitlement.objects.values_list("base_concurrency", "base_tokens_per_second")) == {(1, 15)}
    forth = undone(back)
    assert states(forth) == {"done": 5}
    assert set(Entitlement.objects.values_list("base_concurrency", flat=True)) == {3}


def test_undo_leaves_alone_what_was_changed_again_since() -> None:
    rows = crowd(3)
    job = run(start(rows, "scale", factor="2"))
    Entitlement.objects.filter(pk=rows[1].pk).update(base_concurrency=9, revision=7)
    back = undone(job)
    assert states(back) == {"done": 2, "refused": 1}
    refused = back.items.get(state=ItemState.REFUSED)
    assert "base_concurrency is 9 by now" in refused.sentence
    assert sorted(Entitlement.objects.values_list("base_concurrency", flat=True)) == [1, 1, 9]


def test_undo_of_suspend_tier_and_end() -> None:
    rows = crowd(3)
    job = run(start(rows, "suspend"))
    Entitlement.objects.filter(pk=rows[0].pk).update(state="bound")
    assert states(undone(job)) == {"done": 2, "refused": 1}
    assert Entitlement.objects.filter(state="pending").count() == 2
    gold = tier_make("elastic", "gold")
    job = run(start(selected(row.pk for row in rows), "tier", tier="gold"))
    undone(job)
    assert not Entitlement.objects.filter(tier=gold).exists()
    job = run(start(selected(row.pk for row in rows), "end", until="2027-01-01T00:00"))
    undone(job)
    assert not Entitlement.objects.filter(valid_until__isnull=False).exists()


def test_moves_are_taken_back_with_terms_history_and_state() -> None:
    rows = crowd(3)
    run(start([rows[0]], "suspend"))
    run(start(selected([rows[1].pk]), "end", until="2027-01-01T00:00"))
    before = {row.pk: (row.slug, row.valid_from, row.valid_until) for row in selected(row.pk for row in rows)}
    there = pool_make("chat-70b", max_replicas=2)
    moved = run(start(selected(row.pk for row in rows), "move", pool="chat-70b"))
    changed = Entitlement.objects.get(pool=there, tenant=rows[2].tenant)
    entitlement_change(actor=OLGA, now=later(1), entitlement_id=changed.pk, changes={"base_concurrency": 2})
    job = undone(moved)
    assert states(job) == {"done": 2, "refused": 1}
    back = {row.pk: row for row in selected(row.pk for row in rows)}
    assert {pk: (row.slug, row.valid_from, row.valid_until) for pk, row in back.items() if pk != rows[2].pk} == {
        pk: value for pk, value in before.items() if pk != rows[2].pk
    }
    assert [back[row.pk].state for row in rows] == ["suspended", "pending", "expired"]
    assert set(Entitlement.objects.filter(pool=there).values_list("tenant__slug", "state")) == {
        (rows[0].tenant.slug, "expired"),
        (rows[1].tenant.slug, "expired"),
        (rows[2].tenant.slug, "pending"),
    }
    item = BulkItem.objects.get(job=job, state="refused")
    assert f"{changed.slug} was changed since it was moved" in item.sentence
    assert "made again as a move" in bulk.not_undoable(job, later(9))
    record = AuditRecord.objects.filter(verb="entitlement_revive").first()
    assert record is not None and record.tenant_id == rows[1].tenant_id and "Move taken back" in record.reason


def test_what_cannot_be_undone_says_why() -> None:
    rows = crowd(2)
    running = start(rows, "suspend")
    for job_id, words in ((running.pk, "not at its end"), (running.pk + 99, "no job")):
        with pytest.raises(DomainError, match=words):
            bulk.bulk_undo(actor=OLGA, now=NOW, job_id=job_id)
    done = run(running)
    undone(done)
    with pytest.raises(DomainError, match="undone already"):
        undone(done)
    nothing = run(start(selected(row.pk for row in rows), "tier", tier="elastic"))
    assert bulk.not_undoable(nothing, later(9)) == f"Job #{nothing.pk} changed nothing."


def test_the_task_runs_every_job_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "BULK_BATCH", 4)
    rows = crowd(20)
    first, second = start(rows[:10], "scale", factor="2"), start(rows[10:], "suspend")
    tasks.bulk()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == (JobState.DONE, JobState.DONE)
    assert bulk_waiting() == []
    tasks.bulk()


def test_an_item_costs_a_bounded_number_of_queries() -> None:
    job = start(crowd(40), "scale", factor="1.1")
    with CaptureQueriesContext(connection) as seen:
        bulk_step(job.pk, NOW, batch=40)
    assert len(seen) / 40 < 28, f"{len(seen) / 40:.1f} queries an item"
