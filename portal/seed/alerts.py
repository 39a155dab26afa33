"""What was watched: the rules every installation is offered, alerts of a week, a few of them open, and the messages."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from pools.models import Alert, AlertChannel, AlertDelivery, AlertRule
from pools.models.alerts import ChannelKind, DeliveryState
from pools.senders.signing import new_secret
from pools.services.alert_rules import RECOMMENDED, rule_of
from pools.services.alert_secrets import secret_sealed
from portal.lib.copying import copy_models
from portal.seed.history import HOUR, NOTHING, Spell, run
from portal.seed.products import Place

READINGS = """
INSERT INTO pools_reading (at, pool_id, metrics)
SELECT s.at, p.id, ARRAY[15 + 50 * w.noise, 12 * w.noise, 20 * w.noise, 40 * w.noise, 0, 0]::float[]
FROM unnest(%(pools)s) AS p(id)
CROSS JOIN generate_series(%(start)s, %(end)s, %(step)s * interval '1 second') AS s(at)
CROSS JOIN LATERAL (SELECT (hashint8(p.id * 31 + extract(epoch FROM s.at)::bigint) & 1023) / 1023.0 AS noise) w
"""
CHANNELS = (
    ("Operators on call", ChannelKind.EMAIL, "oncall@seed.example"),
    ("Chat hook 🔔", ChannelKind.WEBHOOK, "https://hooks.seed.example/token-pools"),
)


def alerts_write(mark: str, places: Sequence[Place], dice: random.Random, now: datetime) -> int:
    """Rules with channels, alerts in a third of the pools, their messages, and what the watch saw in the last hour."""
    found = list(AlertRule.objects.filter(pool__isnull=True).order_by("pk"))
    if not found:
        found = [rule_of(given) for given in RECOMMENDED]
        copy_models(found)
    channels = [
        AlertChannel(name=mark + name, kind=kind, target=target, sealed_secret=_secret(kind))
        for name, kind, target in CHANNELS
    ]
    copy_models(channels)
    through = AlertRule.channels.through
    copy_models([through(alertrule_id=rule.pk, alertchannel_id=one.pk) for rule in found for one in channels])
    chosen = dice.sample(list(places), max(2, len(places) // 3))
    alerts = [alert for place in chosen for alert in _alerts(place, found, dice, now)]
    copy_models(alerts)
    messages = [message for alert in alerts for message in _messages(alert, channels, dice)]
    spell = Spell(HOUR, NOTHING, 60)
    readings = run(READINGS, now, spell, pools=[place.pool.pk for place in places])
    return len(alerts) + copy_models(messages) + readings


def _secret(kind: ChannelKind) -> str:
    """Of a webhook, as it lies in the database; nobody knows it."""
    return secret_sealed(new_secret()) if kind == ChannelKind.WEBHOOK else ""


def _alerts(place: Place, rules: Sequence[AlertRule], dice: random.Random, now: datetime) -> list[Alert]:
    """A few that came and went; in some pools one that is open."""
    found = []
    for number in range(dice.randint(1, 6)):
        rule = rules[number % len(rules)]
        level = rule.thresholds[0]
        since = now - timedelta(hours=dice.uniform(1, 160))
        still = number == 0 and dice.random() < 0.15
        value = level["value"] * (0.6 if rule.below else 1.4)
        ended = None if still else since + timedelta(minutes=dice.uniform(3, 50))
        found.append(
            Alert(
                rule=rule,
                pool=place.pool,
                level=level["level"],
                threshold=level["value"],
                value=value,
                worst=value,
                sentence=f"{place.pool.slug}: {rule.name}, {value:.0f} beyond {level['value']:g}.",
                since=since,
                opened_at=since + timedelta(seconds=rule.for_seconds),
                seen_at=ended or now,
                cleared_at=ended,
            )
        )
    return found


def _messages(alert: Alert, channels: Sequence[AlertChannel], dice: random.Random) -> list[AlertDelivery]:
    events = [("opened", alert.opened_at)] + ([("cleared", alert.cleared_at)] if alert.cleared_at else [])
    return [
        AlertDelivery(
            alert=alert,
            channel=channel,
            event=event,
            payload={"event": event, "sentence": alert.sentence},
            state=(DeliveryState.FAILED if dice.random() < 0.03 else DeliveryState.DELIVERED).value,
            attempts=1,
            answer="200 OK",
            created_at=at or alert.since,
            delivered_at=at,
        )
        for event, at in events
        for channel in channels
    ]
