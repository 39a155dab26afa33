"""The watch: every enabled rule against every pool's values, every few seconds. An alert opens once per crossing.

1 read the values; 2 read rules and what is open; 3 step each level (``pools.mechanism.alerting``); 4 write; 5 owe the
messages; 6 count. Steps 2 to 5 are one transaction under one lock of the database: two watches at once, a restart in
the middle, a store that lost its memory, none of them opens an alert twice or tells it twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

import orjson
from django.db import connection, transaction

from pools.mechanism.alerting import Kind, Level, Standing, Terms, crossed, step
from pools.models import Alert, AlertRule, Entitlement
from pools.models.alerts import Metric
from pools.selectors.alert_values import PoolValues, alert_values, only
from pools.selectors.alerts import OPEN_KEPT_S, OPEN_KEY, VALUES_KEY, open_by_level
from pools.services.alert_deliveries import deliveries_owe
from pools.services.alert_words import alert_sentence, terms_of
from portal.lib.copying import copy_rows
from portal.lib.hot import hot

WATCH_LOCK = 0x616C7274  # advisory lock: one watch at a time
READING_EVERY = timedelta(seconds=15)
READ_KEY = "tp:alerts:read"
STORED = {
    "since": "timestamptz",
    "value": "float8",
    "worst": "float8",
    "threshold": "float8",
    "seen_at": "timestamptz",
    "opened_at": "timestamptz",
    "cleared_at": "timestamptz",
    "sentence": "text",
    "cleared_because": "text",
}
"""What a look changes in a row, with the types it has there."""
Place = tuple[int, int]
"""Rule id and pool id."""


@dataclass(slots=True)
class Watched:
    """What one look did."""

    rules: int = 0
    opened: list[Alert] = field(default_factory=list)
    cleared: list[Alert] = field(default_factory=list)
    owed: int = 0


def alerts_watch(now: datetime) -> Watched:
    """One look at everything. Errors of the stores pass through; the next look finds the same."""
    values = alert_values(now, remember=True)
    _readings_keep(values, now)
    done = Watched()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [WATCH_LOCK])
            (mine,) = cast(tuple[bool], cursor.fetchone())
        if mine:
            _watch(values, now, done)
            done.owed = deliveries_owe(now, done.cleared)
    pipe = hot().pipeline(transaction=False)
    pipe.set(OPEN_KEY, orjson.dumps(open_by_level()), ex=OPEN_KEPT_S)
    pipe.set(VALUES_KEY, orjson.dumps({str(key): one.row() for key, one in values.items()}), ex=OPEN_KEPT_S)
    pipe.execute()
    return done


def _watch(values: Mapping[int, PoolValues], now: datetime, done: Watched) -> None:
    rules = list(AlertRule.objects.filter(enabled=True).select_related("pool"))
    living: dict[Place, dict[str, Alert]] = {}
    for alert in Alert.objects.filter(cleared_at__isnull=True).select_related("rule", "pool"):
        living.setdefault((alert.rule_id, alert.pool_id or 0), {})[alert.level] = alert
    changed: list[Alert] = []
    dropped: list[int] = []
    for rule in rules:
        terms = terms_of(rule)
        for one in only(values, rule.pool_id):
            held = living.pop((rule.pk, one.pool_id), {})
            value = one.values.get(rule.metric)
            after, events = step(terms, {name: _standing(alert, now) for name, alert in held.items()}, value, 0.0)
            opens = {event.level for event in events if event.kind is Kind.OPENED}
            changed += _write(rule, terms, one, held, after, opens, value, now)
            ended = {event.level for event in events if event.kind is Kind.CLEARED}
            changed += _end(held, ended, value, now, "")
            dropped += [alert.pk for name, alert in held.items() if name not in after and name not in ended]
    for held in living.values():  # the pool is gone, or the rule watches elsewhere
        dropped += [alert.pk for alert in held.values() if alert.opened_at is None]
        changed += _end(held, {name for name, alert in held.items() if alert.opened_at}, None, now, "no longer watched")
    Alert.objects.filter(pk__in=dropped).delete()
    Alert.objects.bulk_create([alert for alert in changed if alert.pk is None], batch_size=500)
    _store(changed)
    done.rules = len(rules)
    done.opened = [alert for alert in changed if alert.opened_at == now]
    done.cleared = [alert for alert in changed if alert.cleared_at == now]


def _store(changed: list[Alert]) -> None:
    """All changed rows in one statement: Django's bulk_update takes seconds of it where hundreds of alerts are open."""
    if not changed:
        return
    columns = [[getattr(alert, name) for alert in changed] for name in ("pk", *STORED)]
    kinds = ", ".join(f"%s::{kind}[]" for kind in ("bigint", *STORED.values()))
    sets = ", ".join(f"{name} = new.{name}" for name in STORED)
    names = ", ".join(("id", *STORED))
    sql = f"UPDATE pools_alert AS old SET {sets} FROM unnest({kinds}) AS new({names}) WHERE old.id = new.id"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, columns)


def _standing(alert: Alert, now: datetime) -> Standing:
    """Times as seconds before now: exact, where seconds since 1970 would be rounded."""
    since, seen = ((at - now).total_seconds() for at in (alert.since, alert.seen_at))
    return Standing(since, seen, alert.opened_at is not None)


def _write(
    rule: AlertRule,
    terms: Terms,
    one: PoolValues,
    held: Mapping[str, Alert],
    after: Mapping[str, Standing],
    opens: Iterable[str],
    value: float | None,
    now: datetime,
) -> list[Alert]:
    """Rows of the levels that stand, not stored yet: new ones, and known ones with the present value."""
    changed = []
    for level in terms.levels:
        standing = after.get(level.name)
        if standing is None or value is None:
            continue
        fresh = Alert(rule=rule, pool_id=one.pool_id, level=level.name, worst=value, since=now)
        alert = held.get(level.name) or fresh
        alert.value, alert.threshold, alert.seen_at = value, level.value, now + timedelta(seconds=standing.seen)
        alert.since = now + timedelta(seconds=standing.since)
        alert.worst = min(alert.worst, value) if rule.below else max(alert.worst, value)
        if level.name in opens:
            alert.opened_at = now
        if alert.opened_at in (None, now):
            alert.sentence = alert_sentence(rule.metric, one.slug, value, level, _detail(rule.metric, one, alert))
        changed.append(alert)
    return changed


def _detail(metric: str, one: PoolValues, alert: Alert) -> str:
    """Which dimension; whom. A query only when an alert opens."""
    found = one.details.get(metric)
    if metric != Metric.DEBT or found is None:
        return str(found or "")
    if alert.opened_at is None:
        return ""
    row = Entitlement.objects.filter(pk=found).select_related("tenant").first()
    return f"to {row.tenant.name[:80]}" if row is not None else ""


def _end(held: Mapping[str, Alert], levels: Iterable[str], value: float | None, now: datetime, why: str) -> list[Alert]:
    ended = []
    for name in levels:
        alert = held[name]
        alert.cleared_at, alert.cleared_because = now, why
        if not why and value is not None:
            alert.value = value
            still = crossed(terms_of(alert.rule), Level(name, alert.threshold), value)
            alert.cleared_because = "the rule no longer has this level" if still else ""
        ended.append(alert)
    return ended


def _readings_keep(values: Mapping[int, PoolValues], now: datetime) -> None:
    """A reading of every pool now and then, for the charts of the rules."""
    if not values or not hot().set(READ_KEY, 1, nx=True, px=int(READING_EVERY.total_seconds() * 1000) - 500):
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pools_reading WHERE at = %s LIMIT 1", [now])
        if cursor.fetchone():
            return
        copy_rows(
            "pools_reading", ("at", "pool_id", "metrics"), ([now, one.pool_id, one.row()] for one in values.values())
        )
