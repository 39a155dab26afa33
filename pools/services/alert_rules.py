"""Deeds on alert rules: make, change, switch, mute for a while, remove. Each leaves an audit record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from pools.mechanism.alerting import problem
from pools.models import Alert, AlertChannel, AlertRule, Pool
from pools.models.alerts import Metric
from pools.services.alert_deliveries import deliveries_owe
from pools.services.alert_words import INFO, LEVELS, terms_of
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

LONGEST_MUTE = timedelta(days=31)
LONGEST_WAIT_S = 86_400
MOST_RULES = 500
TAKE_BACK_WITHIN = timedelta(minutes=15)
FIELDS = ("name", "metric", "thresholds", "hysteresis", "for_seconds", "enabled")


@dataclass(frozen=True, slots=True)
class RuleInput:
    """The terms of a rule. ``thresholds``: (level, value) from mild to severe; ``pool`` None: each pool by itself."""

    name: str
    metric: str
    thresholds: Sequence[tuple[str, float]]
    pool: Pool | None = None
    hysteresis: float = 0.0
    for_seconds: int = 60
    channels: Sequence[AlertChannel] = ()
    enabled: bool = True


RECOMMENDED: tuple[RuleInput, ...] = (
    RuleInput("Little headroom", Metric.HEADROOM, (("warning", 10), ("critical", 2)), None, 5, 60),
    RuleInput("Many refusals", Metric.REFUSAL_RATE, (("warning", 20), ("critical", 50)), None, 5, 60),
    RuleInput("Debt grows", Metric.DEBT, (("warning", 25), ("critical", 50)), None, 5, 60),
    RuleInput("The tick is late", Metric.TICK_LAG, (("warning", 2000), ("critical", 10_000)), None, 500, 15),
    RuleInput("Counters drift", Metric.DRIFT, (("warning", 1), ("critical", 10)), None, 0, 60),
    RuleInput("Endpoints fail", Metric.ENDPOINT_FAILURE, (("warning", 1), ("critical", 3)), None, 0, 0),
)
"""What a new installation is offered; without a channel they are seen on the page only."""


def rule_of(given: RuleInput, rule: AlertRule | None = None) -> AlertRule:
    """A rule with these terms, checked and not saved. Raises DomainError ``bad_rule`` with a sentence per field."""
    rule = rule or AlertRule()
    rule.name, rule.metric, rule.pool = given.name.strip(), given.metric, given.pool
    problems: dict[str, str] = {}
    if not rule.name:
        problems["name"] = "Give the rule a name: it is what the message begins with."
    elif len(rule.name) > 100:
        problems["name"] = f"The name has {len(rule.name)} characters; at most 100 are kept."
    if given.metric not in INFO:
        problems["metric"] = f"There is no metric {given.metric!r}."
        raise DomainError("bad_rule", " ".join(problems.values()), fields=problems)
    info = INFO[given.metric]
    rule.thresholds = [{"level": level, "value": float(value)} for level, value in given.thresholds]
    rule.below, rule.hysteresis, rule.for_seconds = info.below, float(given.hysteresis), given.for_seconds
    rule.enabled = given.enabled
    names = [level for level, _ in given.thresholds]
    if names != sorted(set(names) & set(LEVELS), key=LEVELS.index):
        problems["thresholds"] = f"Levels are {', '.join(LEVELS)}, each at most once, in this order."
    elif why := problem(terms_of(rule), 0, info.highest):
        problems["thresholds"] = why
    if not 0 <= rule.hysteresis <= info.highest:
        problems["hysteresis"] = f"The hysteresis lies between 0 and {info.highest:g}."
    if not 0 <= rule.for_seconds <= LONGEST_WAIT_S:
        problems["for_seconds"] = f"A crossing is waited for 0 to {LONGEST_WAIT_S:,} seconds."
    if problems:
        raise DomainError("bad_rule", " ".join(problems.values()), fields=problems)
    return rule


@recorded()
def alert_rule_create(*, actor: Actor, now: datetime, given: RuleInput, reason: str = "") -> AlertRule:
    """A new rule. Raises DomainError ``bad_rule``, ``name_taken``, ``too_many``."""
    rule = rule_of(given)
    if AlertRule.objects.count() >= MOST_RULES:
        raise DomainError("too_many", f"There are {MOST_RULES} rules already; remove one first.", status=409)
    rule.created_at = now
    _save(rule)
    rule.channels.set(given.channels)
    _record(actor, now, "alert_rule_create", rule, {}, reason)
    return rule


@recorded()
def alert_rule_change(
    *, actor: Actor, now: datetime, rule_id: int, given: RuleInput, revision: int | None = None, reason: str = ""
) -> AlertRule:
    """New terms for a rule. Its open alerts go on under them; those of levels it no longer has are closed by the watch.

    Raises DomainError ``not_found``, ``bad_rule``, ``name_taken``; ``moved_on`` when ``revision`` is an older one.
    """
    rule = _locked(rule_id)
    if revision is not None and revision != rule.revision:
        sentence = f"Somebody changed “{rule.name}” meanwhile: look at its present terms below, then decide again."
        raise DomainError("moved_on", sentence, status=409)
    before = rule_shown(rule)
    pool_id = rule.pool_id
    rule_of(given, rule)
    rule.revision += 1
    _save(rule)
    rule.channels.set(given.channels)
    if rule.pool_id != pool_id:
        _close(rule, now, "the rule watches elsewhere")
    _record(actor, now, "alert_rule_change", rule, before, reason)
    return rule


@recorded()
def alert_rule_switch(*, actor: Actor, now: datetime, rule_id: int, enabled: bool, reason: str = "") -> AlertRule:
    """Switches a rule on or off. Off closes its open alerts. Raises DomainError ``not_found``."""
    rule = _locked(rule_id)
    if rule.enabled == enabled:
        return rule
    before = rule_shown(rule)
    rule.enabled = enabled
    rule.save(update_fields=["enabled"])
    if not enabled:
        _close(rule, now, "the rule was switched off")
    _record(actor, now, f"alert_rule_{'enable' if enabled else 'disable'}", rule, before, reason)
    return rule


@recorded()
def alert_rule_mute(
    *, actor: Actor, now: datetime, rule_id: int, until: datetime | None, reason: str = ""
) -> AlertRule:
    """Keeps a rule quiet until a moment (None: no longer). It is still watched: alerts open and clear on the page, and
    one that is still open when the mute ends is told then. Raises DomainError ``not_found``, ``bad_mute``."""
    rule = _locked(rule_id)
    if until is not None and not now < until <= now + LONGEST_MUTE:
        sentence = f"A mute ends in the future, {LONGEST_MUTE.days} days ahead at most; got {until:%Y-%m-%d %H:%M} UTC."
        raise DomainError("bad_mute", sentence, fields={"until": sentence})
    before = rule_shown(rule)
    rule.muted_until = until
    rule.save(update_fields=["muted_until"])
    _record(actor, now, f"alert_rule_{'mute' if until else 'unmute'}", rule, before, reason)
    return rule


@recorded()
def alert_rule_delete(*, actor: Actor, now: datetime, rule_id: int, reason: str = "") -> str:
    """Removes a rule with its alerts and their deliveries; returns its name. Raises DomainError ``not_found``."""
    rule = _locked(rule_id)
    _record(actor, now, "alert_rule_delete", rule, rule_shown(rule), reason, gone=True)
    rule.delete()
    return rule.name


@recorded()
def alert_rules_recommend(*, actor: Actor, now: datetime, reason: str = "") -> list[AlertRule]:
    """Adds the recommended rules whose names are not taken; twice is once."""
    taken = set(AlertRule.objects.values_list("name", flat=True))
    missing = [given for given in RECOMMENDED if given.name not in taken]
    return [alert_rule_create(actor=actor, now=now, given=given, reason=reason) for given in missing]


@recorded()
def alert_rules_take_back(*, actor: Actor, now: datetime, rule_ids: Iterable[int]) -> list[str]:
    """Undoes the making of rules that are minutes old and unchanged; returns their names."""
    rows = AlertRule.objects.filter(pk__in=list(rule_ids), revision=1, created_at__gt=now - TAKE_BACK_WITHIN)
    ids = list(rows.values_list("pk", flat=True)[:50])
    return [alert_rule_delete(actor=actor, now=now, rule_id=rule_id, reason="taken back") for rule_id in ids]


def input_of(shown: dict[str, Any]) -> RuleInput:
    """The terms that an audit record kept, for an undo. Raises DomainError ``gone`` when its pool no longer exists."""
    pool = None
    if shown.get("pool"):
        pool = Pool.objects.filter(slug=shown["pool"]).first()
        if pool is None:
            raise DomainError("gone", f"The pool {shown['pool']} no longer exists.", status=409)
    levels = [(item["level"], item["value"]) for item in shown["thresholds"]]
    channels = list(AlertChannel.objects.filter(name__in=shown["channels"]))
    return RuleInput(
        shown["name"],
        shown["metric"],
        levels,
        pool,
        shown["hysteresis"],
        shown["for_seconds"],
        channels,
        shown["enabled"],
    )


def rule_shown(rule: AlertRule) -> dict[str, Any]:
    """A rule as the audit trail keeps it."""
    return {
        **{name: getattr(rule, name) for name in FIELDS},
        "pool": rule.pool.slug if rule.pool else None,
        "channels": sorted(rule.channels.values_list("name", flat=True)),
        "muted_until": rule.muted_until.isoformat() if rule.muted_until else None,
    }


def _locked(rule_id: int) -> AlertRule:
    rule = AlertRule.objects.select_for_update(of=("self",), no_key=True).select_related("pool").filter(pk=rule_id)
    found = rule.first()
    if found is None:
        raise DomainError("not_found", f"There is no alert rule {rule_id}; it may have been removed.", status=404)
    return found


def _save(rule: AlertRule) -> None:
    try:
        with transaction.atomic():
            rule.save()
    except IntegrityError:
        sentence = f"There is a rule “{rule.name}” already; choose another name."
        raise DomainError("name_taken", sentence, status=409, fields={"name": sentence}) from None


def _close(rule: AlertRule, now: datetime, because: str) -> None:
    """Ends what is open; whoever was told of it is told of that, too."""
    living = Alert.objects.filter(rule=rule, cleared_at__isnull=True)
    living.filter(opened_at__isnull=True).delete()
    ended = list(living.select_related("rule", "pool"))
    living.update(cleared_at=now, cleared_because=because)
    for alert in ended:
        alert.cleared_at, alert.cleared_because = now, because
    deliveries_owe(now, ended)


def _record(
    actor: Actor, now: datetime, verb: str, rule: AlertRule, before: dict[str, Any], reason: str, gone: bool = False
) -> None:
    after = {} if gone else rule_shown(rule)
    audit_record(actor=actor, verb=verb, target=rule, before=before, after=after, reason=reason, now=now)
