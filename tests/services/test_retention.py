"""What is over and was kept long enough goes, in bounded steps, past what others hold; the rest stays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import connections, transaction

from billing.services.retention import KINDS, retention_purge
from pools.models import AdviceHour, Alert, AlertChannel, AlertDelivery, AlertRule, BulkJob, Pool
from pools.models.alerts import DeliveryState, Metric
from pools.services import bulk
from pools.services.alert_rules import RuleInput, alert_rule_create
from portal.accounts.invitations import invitation_insert
from portal.accounts.models import Invitation, User
from portal.audit.models import AuditRecord
from portal.lib.errors import DomainError
from tests.cast import NOW, OLGA, later, pool_make
from tests.services.test_bulk import crowd, run, start

pytestmark = pytest.mark.django_db
LONG = timedelta(days=1000)


def alert(rule: AlertRule, pool: Pool, cleared_days_ago: float | None) -> Alert:
    """One with its message."""
    cleared = None if cleared_days_ago is None else NOW - timedelta(days=cleared_days_ago)
    made = Alert.objects.create(
        rule=rule,
        pool=pool,
        level="warning",
        threshold=1,
        value=1,
        worst=1,
        sentence="s",
        since=NOW - LONG,
        seen_at=NOW,
        cleared_at=cleared,
    )
    channel = AlertChannel.objects.get_or_create(name="c", kind="email", target="a@example.org")[0]
    AlertDelivery.objects.create(alert=made, channel=channel, event="opened", payload={}, state="delivered")
    return made


def test_ended_alerts_go_with_their_messages_and_open_ones_stay(settings: Any) -> None:
    settings.ALERT_DAYS = 30
    pool = pool_make()
    rule = alert_rule_create(actor=OLGA, now=NOW, given=RuleInput("r", Metric.HEADROOM, [("warning", 20.0)]))
    old, young, living = (alert(rule, pool, days) for days in (31, 29, None))
    channel = AlertChannel.objects.get()
    for days, state in ((31, "failed"), (31, "waiting"), (29, "failed")):
        AlertDelivery.objects.create(
            channel=channel, event="test", payload={}, state=state, created_at=NOW - timedelta(days=days)
        )
    assert retention_purge(NOW) == {"alerts": 1, "test messages": 1}
    assert set(Alert.objects.all()) == {young, living} and old.pk
    assert set(AlertDelivery.objects.values_list("alert_id", flat=True)) == {young.pk, living.pk, None}
    assert AlertDelivery.objects.filter(alert=None, state=DeliveryState.WAITING).count() == 1
    assert retention_purge(NOW) == {}


def test_a_run_is_bounded_and_the_next_one_goes_on(settings: Any) -> None:
    settings.ALERT_DAYS = 30
    pool = pool_make()
    rule = alert_rule_create(actor=OLGA, now=NOW, given=RuleInput("r", Metric.HEADROOM, [("warning", 20.0)]))
    for _ in range(7):
        alert(rule, pool, 40)
    assert retention_purge(NOW, batch=2, most=5) == {"alerts": 5}
    assert retention_purge(NOW, batch=2, most=5) == {"alerts": 2}


def test_results_of_jobs_go_the_job_stays_and_says_why_it_cannot_be_undone(settings: Any) -> None:
    job = run(start(crowd(3), "suspend"))
    after = later(5) + timedelta(days=settings.JOB_DAYS)
    assert retention_purge(after) == {} and bulk.not_undoable(job, after) == ""
    records = AuditRecord.objects.count()
    assert retention_purge(after + timedelta(seconds=1)) == {"items of bulk jobs": 3}
    assert BulkJob.objects.get().finished == 3 and AuditRecord.objects.count() == records
    with pytest.raises(DomainError, match="kept for 90 days"):
        bulk.bulk_undo(actor=OLGA, now=after + timedelta(seconds=1), job_id=job.pk)


def test_a_job_that_is_being_undone_keeps_its_items() -> None:
    job = run(start(crowd(3), "suspend"))
    bulk.bulk_undo(actor=OLGA, now=later(9), job_id=job.pk)
    assert retention_purge(NOW + LONG) == {}
    run(BulkJob.objects.latest("pk"))
    assert retention_purge(NOW + LONG) == {"items of bulk jobs": 6}


def test_invitations_sessions_and_advice_go(settings: Any) -> None:
    user = User.objects.create_user("a@example.org")
    given = {"tenant": None, "role": "", "platform_role": "auditor", "by": user, "now": NOW}
    invitation_insert(email="b@example.org", **given)
    AdviceHour.objects.create(pool=pool_make(), at=NOW, right=1, few=0, many=0, ran_right=1, ran_few=0, ran_many=0)
    for key, ends in (("gone", NOW), ("alive", NOW + 3 * LONG)):
        Session.objects.create(session_key=key, session_data="", expire_date=ends)
        UserSession.objects.create(user=user, ip="::1", session_key=key, user_agent="", last_seen_at=NOW)
    assert retention_purge(NOW + timedelta(hours=23)) == {}
    assert retention_purge(NOW + LONG) == {"invitations": 1, "judged advice": 1, "sessions": 1, "devices": 1}
    assert Session.objects.get().session_key == UserSession.objects.get().session_key == "alive"
    assert not Invitation.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_what_somebody_holds_is_left_for_the_next_time() -> None:
    for key in ("held", "free"):
        Session.objects.create(session_key=key, session_data="", expire_date=NOW)
    with transaction.atomic():
        Session.objects.select_for_update().get(session_key="held")
        assert _purged_elsewhere() == {"sessions": 1}
    assert retention_purge(NOW + LONG) == {"sessions": 1}


def _purged_elsewhere() -> dict[str, int]:
    """By another connection: in a thread of its own."""

    def purge() -> dict[str, int]:
        try:
            return retention_purge(NOW + LONG)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(purge).result(timeout=60)


def test_the_books_that_must_stay_are_no_kind_of_it() -> None:
    models = {kind.older(NOW).model._meta.label_lower for kind in KINDS}
    assert not any(name.startswith(("audit.", "billing.")) for name in models)
