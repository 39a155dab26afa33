"""What is over and was kept long enough goes, a bounded number of rows at a time; history by time goes by partitions.

Never removed: the audit trail and its checks, usage, the debt ledger, decisions and endpoints, terms and profiles.
What somebody else holds just now is left for the next time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from pools.models import AdviceHour, Alert, AlertDelivery, BulkItem
from pools.models.alerts import DeliveryState
from pools.services.bulk import bulk_being_undone
from portal.accounts.models import Invitation

BATCH = 1000
MOST = 20_000
"""Rows of one kind removed in one run: a backlog of years goes in days, and nobody notices."""
A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Kept:
    """A kind of rows, the setting that says for how many days they are kept (empty: a day), and which are older."""

    name: str
    setting: str
    older: Callable[[datetime], QuerySet[Any]]


def _deliveries(oldest: datetime) -> QuerySet[AlertDelivery]:
    """Of tests; those of an alert go with it."""
    return AlertDelivery.objects.filter(alert__isnull=True, created_at__lt=oldest).exclude(state=DeliveryState.WAITING)


def _items(oldest: datetime) -> QuerySet[BulkItem]:
    """Not those a job that runs now is taking back."""
    return BulkItem.objects.filter(job__ended_at__lt=oldest).exclude(job_id__in=bulk_being_undone())


def _devices(oldest: datetime) -> QuerySet[UserSession]:
    """What the account page lists, when its session is gone."""
    alive = Session.objects.filter(session_key=OuterRef("session_key"))
    return UserSession.objects.filter(~Exists(alive), last_seen_at__lt=oldest)  # type: ignore[no-any-return]


KINDS = (
    Kept("alerts", "ALERT_DAYS", lambda oldest: Alert.objects.filter(cleared_at__lt=oldest)),
    Kept("test messages", "ALERT_DAYS", _deliveries),
    Kept("items of bulk jobs", "JOB_DAYS", _items),
    Kept("invitations", "INVITATION_DAYS", lambda oldest: Invitation.objects.filter(expires_at__lt=oldest)),
    Kept("judged advice", "HOUR_DAYS", lambda oldest: AdviceHour.objects.filter(at__lt=oldest)),
    Kept("sessions", "", lambda oldest: Session.objects.filter(expire_date__lt=oldest)),
    Kept("devices", "", _devices),
)


def retention_purge(now: datetime, *, batch: int = BATCH, most: int = MOST) -> dict[str, int]:
    """Removes what is over for longer than it is kept, each batch a transaction; returns how many of each kind."""
    removed: dict[str, int] = {}
    for kind in KINDS:
        kept = timedelta(days=int(getattr(settings, kind.setting))) if kind.setting else A_DAY
        rows = kind.older(now - kept)
        while removed.get(kind.name, 0) < most:
            gone = _purge(rows, min(batch, most - removed.get(kind.name, 0)))
            if not gone:
                break
            removed[kind.name] = removed.get(kind.name, 0) + gone
    return removed


@transaction.atomic
def _purge(rows: QuerySet[Any], batch: int) -> int:
    """Some rows, with what belongs to them; how many of the kind itself."""
    free = rows.order_by().select_for_update(skip_locked=True, of=("self",))
    ids = list(free.values_list("pk", flat=True)[:batch])
    if ids:
        rows.model._default_manager.filter(pk__in=ids).delete()
    return len(ids)
