"""Messages of alerts: owed once per crossing and channel, tried with growing pauses, kept with every answer.

A delivery that is claimed is hidden for a minute: a worker that dies with it leaves it to the next one, and the
receiver knows by the message's id whether it had it already.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.conf import settings
from django.db.models import Exists, OuterRef, Q

from pools.mechanism.alerting import Kind, retry_pause_s
from pools.models import Alert, AlertChannel, AlertDelivery
from pools.models.alerts import ChannelKind, DeliveryState
from pools.senders.signing import signed_headers
from pools.senders.webhook import Answer, Outgoing, send_all
from pools.services.alert_secrets import UNREADABLE, secret_readable, secrets_valid
from pools.services.alert_words import INFO, cleared_sentence, value_text
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError
from portal.lib.mail import mail_send, portal_address

LEASE = timedelta(seconds=60)
MOST_WEBHOOKS, MOST_EMAILS = 20, 4
"""At one beat: webhooks go out together, e-mails one after the other."""
MOST_TRIES = 20
OPENED, CLEARED, TEST = Kind.OPENED.value, Kind.CLEARED.value, "test"


@dataclass(frozen=True, slots=True)
class Sent:
    """What one pass did."""

    delivered: int = 0
    failed: int = 0
    waiting: int = 0


def deliveries_owe(now: datetime, cleared: Iterable[Alert] = ()) -> int:
    """Writes what is owed: to each channel of a rule that is not muted each open alert, and the all-clear to whoever
    was told of one that has just ended. Twice is once: the database knows one delivery per alert, channel and event."""
    living = Alert.objects.filter(opened_at__isnull=False, cleared_at__isnull=True, rule__channels__isnull=False)
    alerts = list(living.select_related("rule", "pool").prefetch_related("rule__channels").distinct()[:5000])
    told = _told([alert.pk for alert in alerts])
    rows = [
        _delivery(alert, channel, OPENED, now)
        for alert in alerts
        if alert.rule.muted_until is None or alert.rule.muted_until <= now
        for channel in alert.rule.channels.all()
        if (alert.pk, channel.pk) not in told
    ]
    ended = {alert.pk: alert for alert in cleared}
    if ended:
        channels = AlertChannel.objects.in_bulk({channel_id for _, channel_id in _told(list(ended))})
        rows += [_delivery(ended[alert], channels[to], CLEARED, now) for alert, to in sorted(_told(list(ended)))]
    return len(AlertDelivery.objects.bulk_create(rows, ignore_conflicts=True)) if rows else 0


def _told(alert_ids: Sequence[int]) -> set[tuple[int, int]]:
    if not alert_ids:
        return set()
    found = AlertDelivery.objects.filter(alert_id__in=alert_ids, event=OPENED).values_list("alert_id", "channel_id")
    return {(int(alert_id or 0), channel_id) for alert_id, channel_id in found}


def _delivery(alert: Alert, channel: AlertChannel, event: str, now: datetime) -> AlertDelivery:
    return AlertDelivery(
        alert=alert,
        channel=channel,
        event=event,
        payload=event_of(alert, event, now),
        next_attempt_at=now,
        created_at=now,
    )


def event_of(alert: Alert, event: str, now: datetime) -> dict[str, Any]:
    """The message as a CloudEvent 1.0 in JSON; ``id`` is the same at every try."""
    rule, pool = alert.rule, alert.pool.slug if alert.pool else "all pools"
    sentence = alert.sentence
    if event == CLEARED:
        sentence = cleared_sentence(rule.metric, pool, alert.value, alert.level, alert.cleared_because)
    data = {
        "alert": alert.pk,
        "event": event,
        "rule": rule.name,
        "pool": pool,
        "metric": rule.metric,
        "unit": INFO[rule.metric].unit or "count",
        "level": alert.level,
        "threshold": alert.threshold,
        "value": round(alert.value, 3),
        "worst": round(alert.worst, 3),
        "since": _stamp(alert.since),
        "opened_at": _stamp(alert.opened_at),
        "cleared_at": _stamp(alert.cleared_at),
        "sentence": sentence,
        "url": portal_address(f"/alerts/{alert.pk}/"),
    }
    return _cloud_event(f"alert-{alert.pk}-{event}", event, f"pools/{pool}", now, data)


def _test_event(channel: AlertChannel, number: int, now: datetime) -> dict[str, Any]:
    sentence = f"This is a test of the channel “{channel.name}”. Nothing is wrong."
    data = {"event": TEST, "channel": channel.name, "sentence": sentence, "url": portal_address("/alerts/")}
    return _cloud_event(f"test-{channel.pk}-{number}", TEST, f"channels/{channel.pk}", now, data)


def _cloud_event(identity: str, event: str, subject: str, now: datetime, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": identity,
        "source": portal_address("/alerts/"),
        "type": f"token-pools.alert.{event}",
        "subject": subject,
        "time": _stamp(now),
        "datacontenttype": "application/json",
        "data": data,
    }


def _stamp(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


def deliveries_send(now: datetime) -> Sent:
    """Tries everything that is due, within bounds. Safe in any number of workers."""
    webhooks = _claim(ChannelKind.WEBHOOK, now, MOST_WEBHOOKS)
    results = [_record(row, answer, now) for row, answer in zip(webhooks, _post(webhooks, now), strict=True)]
    results += [_record(row, _mail(row), now) for row in _claim(ChannelKind.EMAIL, now, MOST_EMAILS)]
    count = {state: results.count(state) for state in DeliveryState}
    return Sent(count[DeliveryState.DELIVERED], count[DeliveryState.FAILED], count[DeliveryState.WAITING])


@recorded()
def _claim(kind: ChannelKind, now: datetime, most: int) -> list[AlertDelivery]:
    due = AlertDelivery.objects.filter(state=DeliveryState.WAITING, next_attempt_at__lte=now, channel__kind=kind)
    alarm = AlertDelivery.objects.filter(
        alert=OuterRef("alert"), channel=OuterRef("channel"), event=OPENED, state=DeliveryState.WAITING
    )
    early = Q(event=CLEARED) & Exists(alarm)  # an all-clear waits until its alarm was told, or could not be
    rows = list(
        due.exclude(early)
        .select_for_update(skip_locked=True, of=("self",), no_key=True)
        .select_related("channel")
        .order_by("next_attempt_at", "pk")[:most]
    )
    for row in rows:
        row.attempts, row.next_attempt_at = row.attempts + 1, now + LEASE
    AlertDelivery.objects.bulk_update(rows, ["attempts", "next_attempt_at"])
    return rows


def _post(rows: Sequence[AlertDelivery], now: datetime) -> list[Answer]:
    """What became of each message. One that cannot be signed does not leave; it is tried again, for a new secret
    may be there by then."""
    signed = {row.pk: outgoing(row, now) for row in rows if secret_readable(row.channel)}
    answers = dict(zip(signed, send_all([*signed.values()], private=settings.ALERT_PRIVATE_TARGETS), strict=True))
    return [answers.get(row.pk, Answer(False, UNREADABLE)) for row in rows]


def outgoing(row: AlertDelivery, now: datetime) -> Outgoing:
    """The signed message of a delivery, as it leaves now."""
    body = orjson.dumps(row.payload)
    channel = row.channel
    headers = {
        "content-type": "application/cloudevents+json; charset=utf-8",
        "user-agent": "token-pools",
        **signed_headers(secrets_valid(channel, now), str(row.payload["id"]), int(now.timestamp()), body),
    }
    return Outgoing(channel.target, body, headers)


def _mail(row: AlertDelivery) -> Answer:
    data = row.payload["data"]
    head = {OPENED: f"[{data.get('level')}]", CLEARED: "[cleared]"}.get(row.event, "[test]")
    lines = [data["sentence"], ""]
    if "metric" in data:
        lines += [
            f"Rule: {data['rule']}",
            f"Pool: {data['pool']}",
            f"Value: {value_text(data['metric'], data['value'])} (worst {value_text(data['metric'], data['worst'])})",
            f"Since: {data['since']}",
            "",
        ]
    reason = mail_send(
        to=addresses(row.channel.target),
        subject=f"{head} {data['sentence']}"[:200],
        body="\n".join([*lines, data["url"]]),
    )
    return Answer(not reason, reason or "handed to the mail server")


def addresses(target: str) -> list[str]:
    """The e-mail addresses of a channel."""
    return [part.strip() for part in target.replace(";", ",").split(",") if part.strip()]


def _record(row: AlertDelivery, answer: Answer, now: datetime) -> str:
    """Writes one answer, unless another worker has taken the delivery over meanwhile; returns the state."""
    tries = [*row.tries, {"at": _stamp(now), "status": answer.status, "answer": answer.text, "ms": answer.took_ms}]
    row.tries, row.answer = tries[-MOST_TRIES:], answer.text[:300]
    pause = None if answer.final else retry_pause_s(row.attempts, random.random(), answer.retry_after_s)
    if answer.ok:
        row.state, row.delivered_at, row.next_attempt_at = DeliveryState.DELIVERED, now, None
    elif pause is None or row.event == TEST:
        row.state, row.next_attempt_at = DeliveryState.FAILED, None
    else:
        row.next_attempt_at = now + timedelta(seconds=pause)
    mine = AlertDelivery.objects.filter(pk=row.pk, attempts=row.attempts, state=DeliveryState.WAITING)
    names = ("tries", "answer", "state", "delivered_at", "next_attempt_at")
    mine.update(**{name: getattr(row, name) for name in names})
    return str(row.state)


def delivery_test(*, actor: Actor, now: datetime, channel_id: int) -> AlertDelivery:
    """Sends a test to a channel at once, one try, and says what came of it. Raises DomainError ``not_found``."""
    channel = AlertChannel.objects.filter(pk=channel_id).first()
    if channel is None:
        raise DomainError("not_found", f"There is no channel {channel_id}; it may have been removed.", status=404)
    number = AlertDelivery.objects.filter(channel=channel, event=TEST).count() + 1
    with recorded():
        row = AlertDelivery.objects.create(
            channel=channel,
            event=TEST,
            payload=_test_event(channel, number, now),
            attempts=1,
            next_attempt_at=now + LEASE,
            created_at=now,
        )
        audit_record(
            actor=actor,
            verb="alert_channel_test",
            target=channel,
            before={},
            after={"delivery": row.pk},
            reason="",
            now=now,
        )
    if channel.kind == ChannelKind.EMAIL:
        answer = _mail(row)
    else:
        (answer,) = _post([row], now)
    _record(row, answer, now)
    return row


@recorded()
def delivery_retry(*, actor: Actor, now: datetime, delivery_id: int) -> AlertDelivery:
    """Tries a failed delivery again, from the first pause on. Raises DomainError ``not_found``, ``not_failed``."""
    rows = AlertDelivery.objects.select_for_update(of=("self",), no_key=True).select_related("channel")
    row = rows.filter(pk=delivery_id).first()
    if row is None:
        raise DomainError("not_found", f"There is no delivery {delivery_id}.", status=404)
    if row.state != DeliveryState.FAILED:
        raise DomainError("not_failed", f"Delivery #{row.pk} is {row.get_state_display().lower()}.", status=409)
    row.state, row.attempts, row.next_attempt_at = DeliveryState.WAITING, 0, now
    row.save(update_fields=["state", "attempts", "next_attempt_at"])
    before, after = {"state": "failed"}, {"state": "waiting"}
    audit_record(actor=actor, verb="alert_delivery_retry", target=row, before=before, after=after, reason="", now=now)
    return row
