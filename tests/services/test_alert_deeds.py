"""Deeds on rules and channels: what is refused and why, what the audit trail keeps, what can be taken back."""

from __future__ import annotations

import importlib
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection

from pools.models import AlertChannel, AlertRule
from pools.models.alerts import Metric
from pools.senders.signing import new_secret
from pools.services.alert_channels import (
    alert_channel_change,
    alert_channel_create,
    alert_channel_delete,
    alert_channel_secret,
)
from pools.services.alert_rules import (
    RECOMMENDED,
    RuleInput,
    alert_rule_change,
    alert_rule_create,
    alert_rule_delete,
    alert_rule_mute,
    alert_rule_switch,
    alert_rules_recommend,
    alert_rules_take_back,
    input_of,
    rule_shown,
)
from pools.services.alert_secrets import secret_readable, secrets_valid
from pools.services.alert_words import INFO, rule_text, value_text
from portal.audit.models import AuditRecord
from portal.lib.boxes import Purpose, seal, unseal
from portal.lib.errors import DomainError
from tests.cast import NOW, OLGA, later, pool_make

pytestmark = pytest.mark.django_db
GOOD: dict[str, Any] = {"name": "r", "metric": Metric.HEADROOM, "thresholds": [("warning", 20.0)], "hysteresis": 5.0}


def made(**changes: Any) -> AlertRule:
    return alert_rule_create(actor=OLGA, now=NOW, given=RuleInput(**{**GOOD, **changes}))


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"name": "  "}, "name", "Give the rule a name"),
        ({"name": "x" * 101}, "name", "101 characters"),
        ({"metric": "moon"}, "metric", "no metric 'moon'"),
        ({"thresholds": []}, "thresholds", "at least one"),
        ({"thresholds": [("critical", 5.0), ("warning", 2.0)]}, "thresholds", "in this order"),
        ({"thresholds": [("warning", 20.0), ("warning", 5.0)]}, "thresholds", "at most once"),
        ({"thresholds": [("odd", 20.0)]}, "thresholds", "Levels are"),
        ({"thresholds": [("warning", 5.0), ("critical", 20.0)]}, "thresholds", "each lower"),
        ({"thresholds": [("warning", 101.0)]}, "thresholds", "between 0 and 100"),
        ({"thresholds": [("warning", 96.0)]}, "thresholds", "never clear"),
        ({"hysteresis": -1.0}, "hysteresis", "between 0 and 100"),
        ({"for_seconds": -1}, "for_seconds", "0 to 86,400"),
        ({"for_seconds": 90_000}, "for_seconds", "0 to 86,400"),
    ],
)
def test_bad_rules_are_refused_with_the_field(changes: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(DomainError) as refused:
        made(**changes)
    assert says in refused.value.fields[field]
    assert AlertRule.objects.count() == 0


def test_names_are_given_once() -> None:
    first, second = made(), made(name="other")
    with pytest.raises(DomainError, match="already"):
        made()
    with pytest.raises(DomainError, match="already"):
        alert_rule_change(actor=OLGA, now=NOW, rule_id=second.pk, given=RuleInput(**GOOD))
    assert AlertRule.objects.get(pk=first.pk).name == "r"


def test_each_deed_is_recorded_and_can_be_read_back() -> None:
    pool = pool_make()
    channel = alert_channel_create(actor=OLGA, now=NOW, name="ops", kind="email", target="ops@example.org").channel
    rule = made(pool=pool, channels=[channel])
    before = rule_shown(rule)
    alert_rule_change(actor=OLGA, now=NOW, rule_id=rule.pk, given=RuleInput("new", Metric.DRIFT, [("critical", 3.0)]))
    alert_rule_mute(actor=OLGA, now=NOW, rule_id=rule.pk, until=later(60), reason="maintenance")
    alert_rule_mute(actor=OLGA, now=NOW, rule_id=rule.pk, until=None)
    alert_rule_switch(actor=OLGA, now=NOW, rule_id=rule.pk, enabled=False)
    alert_rule_switch(actor=OLGA, now=NOW, rule_id=rule.pk, enabled=False)
    verbs = list(
        AuditRecord.objects.filter(object_type="pools.alertrule").order_by("id").values_list("verb", flat=True)
    )
    assert verbs == [f"alert_rule_{verb}" for verb in ("create", "change", "mute", "unmute", "disable")]
    record = AuditRecord.objects.get(verb="alert_rule_change")
    assert record.before["thresholds"] == [{"level": "warning", "value": 20}] and record.before["channels"] == ["ops"]
    alert_rule_change(actor=OLGA, now=NOW, rule_id=rule.pk, given=input_of(record.before))
    assert rule_shown(AlertRule.objects.get(pk=rule.pk)) == before
    with pytest.raises(DomainError, match="no longer exists"):
        input_of({**record.before, "pool": "gone"})
    assert alert_rule_delete(actor=OLGA, now=NOW, rule_id=rule.pk) == "r"
    with pytest.raises(DomainError, match="may have been removed"):
        alert_rule_delete(actor=OLGA, now=NOW, rule_id=rule.pk)


def test_recommended_rules_come_once_and_can_be_taken_back() -> None:
    assert len(alert_rules_recommend(actor=OLGA, now=NOW)) == len(RECOMMENDED) == len(INFO)
    assert alert_rules_recommend(actor=OLGA, now=NOW) == []
    ids = list(AlertRule.objects.values_list("pk", flat=True))
    kept = AlertRule.objects.get(pk=ids[0])
    alert_rule_change(actor=OLGA, now=NOW, rule_id=kept.pk, given=input_of(rule_shown(kept)))
    assert alert_rules_take_back(actor=OLGA, now=NOW + timedelta(hours=1), rule_ids=ids) == [], "too late"
    assert len(alert_rules_take_back(actor=OLGA, now=later(60), rule_ids=ids)) == len(ids) - 1, "changed ones stay"


@pytest.mark.parametrize(
    ("kind", "target", "says"),
    [
        ("webhook", "http://127.0.0.1/x", "private"),
        ("webhook", "ftp://x", "http"),
        ("email", "nonsense", "not an e-mail address"),
        ("email", "", "1 to 20"),
        ("email", ", ".join(f"a{n}@example.org" for n in range(21)), "1 to 20"),
        ("email", "a@example.org\nBcc: b@example.org", "not an e-mail address"),
    ],
)
def test_bad_targets_are_refused(kind: str, target: str, says: str) -> None:
    with pytest.raises(DomainError) as refused:
        alert_channel_create(actor=OLGA, now=NOW, name="c", kind=kind, target=target)
    assert says in refused.value.fields["target"]
    with pytest.raises(DomainError):
        alert_channel_create(actor=OLGA, now=NOW, name="c", kind="pigeon", target="x")


def test_a_secret_is_returned_once_and_recorded_never() -> None:
    made_now = alert_channel_create(
        actor=OLGA, now=NOW, name="hook", kind="webhook", target="https://hooks.example.org/"
    )
    fresh = alert_channel_secret(actor=OLGA, now=NOW, channel_id=made_now.channel.pk)
    assert made_now.secret.startswith("whsec_") and fresh.secret != made_now.secret
    alert_channel_change(
        actor=OLGA, now=NOW, channel_id=fresh.channel.pk, name="hook 2", target="https://hooks.example.org/2"
    )
    mail = alert_channel_create(actor=OLGA, now=NOW, name="ops", kind="email", target="ops@example.org")
    assert mail.secret == ""
    with pytest.raises(DomainError, match="only webhooks"):
        alert_channel_secret(actor=OLGA, now=NOW, channel_id=mail.channel.pk)
    with pytest.raises(DomainError, match="already"):
        alert_channel_create(actor=OLGA, now=NOW, name="ops", kind="email", target="ops@example.org")
    assert alert_channel_delete(actor=OLGA, now=NOW, channel_id=mail.channel.pk) == "ops"
    assert AlertChannel.objects.get().name == "hook 2"
    for record in AuditRecord.objects.filter(object_type="pools.alertchannel"):
        assert "whsec_" not in str(record.before) + str(record.after)


def test_secrets_lie_sealed_and_none_can_be_written_open() -> None:
    made_now = alert_channel_create(actor=OLGA, now=NOW, name="h", kind="webhook", target="https://hooks.example.org/")
    alert_channel_secret(actor=OLGA, now=NOW, channel_id=made_now.channel.pk)
    assert made_now.secret not in repr(made_now)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(c)::text FROM pools_alertchannel c")
        (lying,) = cursor.fetchone() or ("",)
    assert "whsec_" not in lying and made_now.secret.removeprefix("whsec_") not in lying
    channel = AlertChannel.objects.get()
    assert secrets_valid(channel, NOW)[1] == made_now.secret
    channel.sealed_secret = new_secret()
    with pytest.raises(IntegrityError, match="alertchannel_secrets_sealed"):
        channel.save()


def test_after_another_secret_key_a_new_secret_signs_alone(settings: Any) -> None:
    made_now = alert_channel_create(actor=OLGA, now=NOW, name="h", kind="webhook", target="https://hooks.example.org/")
    settings.SECRET_KEY = "another one, fifty characters long or a few more than that"
    channel = AlertChannel.objects.get()
    assert not secret_readable(channel) and secrets_valid(channel, NOW) == []
    fresh = alert_channel_secret(actor=OLGA, now=NOW, channel_id=made_now.channel.pk)
    channel.refresh_from_db()
    assert secret_readable(channel) and secrets_valid(channel, NOW) == [fresh.secret]
    assert channel.old_secret_until is None, "what cannot be read does not sign beside it"


def test_a_webhook_without_a_secret_sends_nothing_unsigned() -> None:
    assert not secret_readable(AlertChannel(name="h", kind="webhook", target="https://a.example/"))
    assert secret_readable(AlertChannel(name="m", kind="email", target="a@example.org"))


def test_a_sealed_text_opens_for_its_purpose_only() -> None:
    closed = seal("a", Purpose.WEBHOOK_SECRETS)
    assert unseal(closed, Purpose.WEBHOOK_SECRETS) == "a" and unseal(closed, Purpose.SECOND_FACTORS) is None
    assert seal("", Purpose.WEBHOOK_SECRETS) == "" == unseal("", Purpose.WEBHOOK_SECRETS)
    assert unseal("nonsense", Purpose.WEBHOOK_SECRETS) is None


def test_secrets_that_lay_open_are_sealed_by_the_migration() -> None:
    migration = importlib.import_module("pools.migrations.0012_sealed_secrets")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE pools_alertchannel DROP CONSTRAINT alertchannel_secrets_sealed")
    AlertChannel.objects.create(name="old", kind="webhook", target="https://a.example/", sealed_secret="whsec_a")
    for _ in range(2):
        migration.close(apps, None)
        channel = AlertChannel.objects.get()
        assert secrets_valid(channel, NOW) == ["whsec_a"] != [channel.sealed_secret]
        assert channel.sealed_old_secret == ""
    migration.open_again(apps, None)
    assert AlertChannel.objects.get().sealed_secret == "whsec_a"


def test_values_are_written_with_their_unit() -> None:
    assert [value_text(Metric.HEADROOM, v).replace("\u00a0", " ") for v in (None, 0.0, 4.234, 42.4, 100.0)] == [
        "no data",
        "0 %",
        "4.2 %",
        "42 %",
        "100 %",
    ]
    assert value_text(Metric.TICK_LAG, 850).replace("\u00a0", " ") == "850 ms"
    assert value_text(Metric.TICK_LAG, 2300).replace("\u00a0", " ") == "2.3 s"
    assert value_text(Metric.DRIFT, 1).replace("\u00a0", " ") == "1 sequence"
    assert value_text(Metric.ENDPOINT_FAILURE, 3).replace("\u00a0", " ") == "3 endpoints"
    text = rule_text(made(thresholds=[("warning", 20.0), ("critical", 5.0)], for_seconds=60)).replace("\u00a0", " ")
    assert text == "headroom at or below 20 % (warning), 5 % (critical) for 60 s"
