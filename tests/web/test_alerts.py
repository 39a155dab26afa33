"""The alert pages: what is open, rules with preview and undo, channels with a test, the log; who may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from pools.models import Alert, AlertChannel, AlertDelivery, AlertRule
from pools.models.alerts import Metric
from pools.selectors.alerts import OPEN_KEY, PAGE
from pools.services.alert_channels import alert_channel_create
from pools.services.alert_deliveries import deliveries_send
from pools.services.alert_rules import RECOMMENDED, RuleInput, alert_rule_create
from pools.services.alert_secrets import secrets_valid
from pools.services.alerting import READ_KEY, alerts_watch
from portal.accounts.models import User
from portal.audit.models import AuditRecord
from portal.lib.clock import now
from portal.lib.hot import hot
from tests.cast import OLGA, pool_make
from tests.portal_cast import publish
from tests.receiver import Receiver, receiving
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
ODD = "ع" * 60 + "🚀 <b>"
FORM = {
    "name": "Low",
    "metric": "headroom",
    "pool": "",
    "warning": "20",
    "critical": "5",
    "hysteresis": "5",
    "for_seconds": "10",
}


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.ALERT_PRIVATE_TARGETS = True
    with receiving() as found:
        yield found


def fire(everybody: Everybody, headroom: float = 3.0, **changes: Any) -> AlertRule:
    """A rule that watches, and a pool that is beyond it."""
    given = {"name": ODD, "metric": Metric.HEADROOM, "thresholds": [("warning", 20.0), ("critical", 5.0)]}
    rule = AlertRule.objects.filter(name=ODD).first() or alert_rule_create(
        actor=OLGA, now=now(), given=RuleInput(**{**given, "hysteresis": 5.0, "for_seconds": 0, **changes})
    )
    publish(everybody.world.pool, capacity=[100.0] * 3, hold=[0.0] * 3, use=[10.0, 100.0 - headroom, 10.0])
    hot().delete(READ_KEY)
    alerts_watch(now())
    return rule


def undone(client: Client, answer: HttpResponse) -> str:
    """Presses Undo on the page that follows; its address."""
    text = client.get(answer["Location"]).content.decode().partition('id="toasts"')[2]
    at = text.partition('<form method="post" action="')[2].partition('"')[0].replace("&amp;", "&")
    assert client.post(at, follow=True).status_code == 200, text[:400]
    return at


def test_nothing_yet_offers_the_first_deed(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    text = client.get("/alerts/").content.decode()
    assert "Nothing is watched yet." in text and "Add recommended rules" in text
    assert "Add recommended rules" not in as_(everybody.ada).get("/alerts/").content.decode()
    answer = client.post("/alerts/rules/recommended/")
    assert AlertRule.objects.count() == len(RECOMMENDED)
    undone(client, answer)
    assert AlertRule.objects.count() == 0


def test_open_alerts_come_first_with_their_numbers(everybody: Everybody, as_: As) -> None:
    fire(everybody)
    client = as_(everybody.ada)
    text = client.get("/alerts/").content.decode()
    assert "2 alerts are open: 1 critical, 1 warning." in text
    assert text.index("Open now") < text.index('id="rules-title"')
    assert escape(ODD[:20]) in text and "🚀 <b>" not in text
    assert '<span class="count" data-level="critical">2' in text, "the menu counts them"
    assert "2 alerts are open" in client.get("/alerts/open/").content.decode()
    alert = Alert.objects.get(level="critical")
    text = client.get(f"/alerts/{alert.pk}/").content.decode()
    assert "still open" in text and "Nobody: the rule has no channel" in text
    fire(everybody, 50.0)
    text = client.get("/alerts/").content.decode()
    assert "All quiet: 1 rule watches the platform." in text and 'class="count"' not in text
    assert "It is over." in client.get(f"/alerts/{alert.pk}/").content.decode()
    hot().delete(OPEN_KEY)
    assert "the watch has not looked for a minute" in client.get("/alerts/").content.decode().lower()


def test_the_menu_asks_no_query_for_its_number(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    client.get("/tiers/")
    with CaptureQueriesContext(connection) as before:
        client.get("/tiers/")
    fire(everybody)
    with CaptureQueriesContext(connection) as after:
        assert 'class="count"' in client.get("/tiers/").content.decode()
    assert len(after) == len(before)


def test_a_rule_is_made_changed_and_taken_back(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    made = client.post("/alerts/rules/new/", {**FORM, "enabled": "on"})
    rule = AlertRule.objects.get()
    assert made["Location"] == f"/alerts/rules/{rule.pk}/"
    assert rule.thresholds == [{"level": "warning", "value": 20.0}, {"level": "critical", "value": 5.0}]
    text = client.get(f"/alerts/rules/{rule.pk}/edit/").content.decode()
    assert 'value="20"' in text and 'value="5"' in text
    changed = client.post(f"/alerts/rules/{rule.pk}/edit/", {**FORM, "name": "Lower", "critical": "", "revision": "1"})
    rule.refresh_from_db()
    assert (rule.name, rule.revision, len(rule.thresholds), rule.enabled) == ("Lower", 2, 1, False)
    undone(client, changed)
    rule.refresh_from_db()
    assert (rule.name, len(rule.thresholds), rule.enabled) == ("Low", 2, True)
    made = client.post("/alerts/rules/new/", {**FORM, "name": "Second"})
    undone(client, made)
    assert list(AlertRule.objects.values_list("name", flat=True)) == ["Low"]


def test_bad_forms_say_why_and_lose_nothing(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    answer = client.post("/alerts/rules/new/", {**FORM, "name": ODD, "warning": "5", "critical": "20"})
    text = answer.content.decode()
    assert answer.status_code == 422 and "each lower than the one before it" in text
    assert 'href="#id_notice"' in text or 'href="#id_warning"' in text
    assert escape(ODD) in text and 'value="20"' in text
    for bad in (
        {"name": ""},
        {"metric": "moon"},
        {"pool": "none"},
        {"for_seconds": "x"},
        {"channels": ["99"]},
        {"warning": "nan"},
    ):
        assert client.post("/alerts/rules/new/", {**FORM, **bad}).status_code == 422, bad
    client.post("/alerts/rules/new/", FORM)
    again = client.post("/alerts/rules/new/", FORM)
    assert again.status_code == 422 and "already; choose another name" in again.content.decode()
    assert AlertRule.objects.count() == 1


def test_the_second_of_two_editors_is_told(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    client.post("/alerts/rules/new/", FORM)
    rule = AlertRule.objects.get()
    client.post(f"/alerts/rules/{rule.pk}/edit/", {**FORM, "warning": "30", "revision": "1"})
    late = client.post(f"/alerts/rules/{rule.pk}/edit/", {**FORM, "warning": "40", "revision": "1"})
    text = late.content.decode()
    assert late.status_code == 409 and "changed" in text and "30\u00a0% (warning)" in text
    assert 'value="40"' in text and 'name="revision" value="2"' in text
    assert client.post(f"/alerts/rules/{rule.pk}/edit/", {**FORM, "warning": "40", "revision": "2"}).status_code == 302


def test_the_preview_says_what_would_fire(everybody: Everybody, as_: As) -> None:
    fire(everybody, 12.0)
    pool_make("other")
    client = as_(everybody.olga)
    text = client.get("/alerts/rules/preview/", FORM).content.decode()
    assert "It would fire in 1 of 2 pools now, once it has lasted 10 s." in text and "no data" in text
    assert 'data-chart="/alerts/chart/?metric=headroom&amp;pool=&amp;warning=20&amp;critical=5"' in text
    text = client.get("/alerts/rules/preview/", {**FORM, "pool": "chat-8b", "warning": "11"}).content.decode()
    assert "It would not fire now." in text
    assert "at least one threshold" in client.get("/alerts/rules/preview/", {"metric": "drift"}).content.decode()
    assert client.get("/alerts/rules/preview/", {"metric": "moon", "warning": "x"}).status_code == 200
    hot().delete("tp:alerts:values")
    assert "1 of 2 pools" in client.get("/alerts/rules/preview/", FORM).content.decode(), "it looks by itself"


def test_the_chart_draws_the_thresholds(everybody: Everybody, as_: As) -> None:
    fire(everybody)
    client = as_(everybody.ada)
    found = client.get("/alerts/chart/?metric=headroom&pool=chat-8b&warning=20&critical=5&range=1h").json()
    assert [trace["name"] for trace in found["metric"]["data"]] == ["chat-8b", "warning 20 %", "critical 5 %"]
    assert found["metric"]["data"][0]["y"] == [3.0]
    assert client.get("/alerts/chart/?metric=headroom").json()["metric"]["data"][0]["name"] == "chat-8b"
    assert client.get("/alerts/chart/?metric=debt&pool=none&warning=x").json()["empty"]
    assert client.get("/alerts/chart/?metric=moon").status_code == 404
    assert as_(everybody.eda).get("/alerts/chart/?metric=headroom").status_code == 403


def test_mute_and_unmute_can_be_undone(everybody: Everybody, as_: As) -> None:
    rule, client = fire(everybody), as_(everybody.olga)
    answer = client.post(f"/alerts/rules/{rule.pk}/mute/", {"span": "1h", "reason": "maintenance"})
    rule.refresh_from_db()
    first = rule.muted_until
    assert first is not None and timedelta(minutes=59) < first - now() <= timedelta(hours=1)
    assert "Muted until" in client.get(f"/alerts/rules/{rule.pk}/").content.decode()
    assert "muted" in client.get("/alerts/").content.decode()
    answer = client.post(f"/alerts/rules/{rule.pk}/mute/", {"span": "24h"})
    undone(client, answer)
    rule.refresh_from_db()
    assert rule.muted_until == first, "back to the mute there was"
    answer = client.post(f"/alerts/rules/{rule.pk}/unmute/")
    rule.refresh_from_db()
    assert rule.muted_until is None
    undone(client, answer)
    rule.refresh_from_db()
    assert rule.muted_until == first
    for bad in ({}, {"until": "x"}, {"until": "2020-01-01T00:00"}, {"until": "2999-01-01T00:00"}):
        assert client.post(f"/alerts/rules/{rule.pk}/mute/", bad).status_code == 302
    rule.refresh_from_db()
    assert rule.muted_until == first
    assert AuditRecord.objects.filter(verb="alert_rule_mute", reason="maintenance").count() == 1


def test_switch_and_delete(everybody: Everybody, as_: As) -> None:
    rule, client = fire(everybody), as_(everybody.olga)
    answer = client.post(f"/alerts/rules/{rule.pk}/off/")
    assert not AlertRule.objects.get().enabled and not Alert.objects.filter(cleared_at__isnull=True).exists()
    undone(client, answer)
    assert AlertRule.objects.get().enabled
    assert client.post(f"/alerts/rules/{rule.pk}/sideways/").status_code == 404
    assert client.post(f"/alerts/rules/{rule.pk}/delete/", {"confirm": "wrong"}).status_code == 302
    assert AlertRule.objects.exists(), "the word was wrong"
    client.post(f"/alerts/rules/{rule.pk}/delete/", {"confirm": ODD})
    assert not AlertRule.objects.exists() and not Alert.objects.exists()
    assert client.get(f"/alerts/rules/{rule.pk}/").status_code == 404


def test_a_channel_its_secret_once_its_test_and_its_log(everybody: Everybody, as_: As, receiver: Receiver) -> None:
    client = as_(everybody.olga)
    made = client.post("/alerts/channels/new/", {"name": "pager", "kind": "webhook", "target": receiver.url})
    channel = AlertChannel.objects.get()
    assert made.status_code == 201 and made.content.decode().count(*secrets_valid(channel, now())) == 1
    assert made["Cache-Control"].startswith("max-age=0")
    assert "whsec_" not in client.get(f"/alerts/channels/{channel.pk}/").content.decode().replace(
        "<code>whsec_</code>", ""
    )
    answer = client.post(f"/alerts/channels/{channel.pk}/test/")
    assert "The test arrived: 200 taken" in client.get(answer["Location"]).content.decode()
    receiver.answers = [(500, "<script>no</script>", {})]
    answer = client.post(f"/alerts/channels/{channel.pk}/test/")
    text = client.get(answer["Location"]).content.decode()
    assert "The test did not arrive: 500 &lt;script&gt;" in text
    failed = AlertDelivery.objects.get(state="failed")
    text = client.get(f"/alerts/deliveries/{failed.pk}/").content.decode()
    assert "did not take it" in text and "token-pools.alert.test" in text and "Try again" in text
    assert client.post(f"/alerts/deliveries/{failed.pk}/retry/").status_code == 302
    deliveries_send(now())
    failed.refresh_from_db()
    assert failed.state == "delivered" and len(receiver.got) == 3
    assert client.get("/alerts/deliveries/?state=failed").context["rows"] == []
    assert len(client.get(f"/alerts/deliveries/?channel={channel.pk}&event=test").context["rows"]) == 2
    fresh = client.post(f"/alerts/channels/{channel.pk}/secret/").content.decode()
    channel.refresh_from_db()
    assert secrets_valid(channel, now())[0] in fresh and "signs beside the new one until" in fresh


def test_a_secret_of_another_secret_key_is_told_and_set_anew(
    everybody: Everybody, as_: As, receiver: Receiver, settings: Any
) -> None:
    channel = alert_channel_create(actor=OLGA, now=now(), name="p", kind="webhook", target=receiver.url).channel
    settings.SECRET_KEY = "another one, fifty characters long or a few more than that"
    client = as_(everybody.olga)
    told = "The secret cannot be read any more: set a new one."
    assert told in client.get(f"/alerts/channels/{channel.pk}/").content.decode()
    assert "secret unreadable" in client.get("/alerts/").content.decode()
    answer = client.post(f"/alerts/channels/{channel.pk}/test/")
    assert f"The test did not arrive: {told}" in client.get(answer["Location"]).content.decode()
    assert told in client.get(f"/alerts/deliveries/{AlertDelivery.objects.get().pk}/").content.decode()
    fresh = client.post(f"/alerts/channels/{channel.pk}/secret/").content.decode()
    assert 'class="banner"' not in fresh and "signs beside the new one" not in fresh and receiver.got == []
    client.post(f"/alerts/channels/{channel.pk}/test/")
    assert len(receiver.got) == 1


def test_channels_are_changed_taken_back_and_removed(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    bad = client.post("/alerts/channels/new/", {"name": "x", "kind": "webhook", "target": "http://127.0.0.1:1/"})
    assert bad.status_code == 422 and "private or local address" in bad.content.decode()
    assert client.post("/alerts/channels/new/", {"name": "ops", "kind": "email", "target": "ops"}).status_code == 422
    client.post("/alerts/channels/new/", {"name": "ops", "kind": "email", "target": "ops@example.org"})
    channel = AlertChannel.objects.get()
    answer = client.post(f"/alerts/channels/{channel.pk}/edit/", {"name": "night", "target": "night@example.org"})
    undone(client, answer)
    channel.refresh_from_db()
    assert (channel.name, channel.target) == ("ops", "ops@example.org")
    client.post(f"/alerts/channels/{channel.pk}/delete/", {"confirm": "no"})
    assert AlertChannel.objects.exists()
    client.post(f"/alerts/channels/{channel.pk}/delete/", {"confirm": "ops"})
    assert not AlertChannel.objects.exists()


def test_history_and_log_are_filtered_and_paged(everybody: Everybody, as_: As) -> None:
    rule = fire(everybody)
    alert = Alert.objects.get(level="warning")
    rows = [
        Alert(
            rule=rule, pool=alert.pool, level="warning", threshold=20, value=3, worst=3, sentence=f"no {n}",
            since=now(), seen_at=now(), opened_at=now(), cleared_at=now(),
        )
        for n in range(PAGE + 5)
    ]  # fmt: skip
    Alert.objects.bulk_create(rows)
    client = as_(everybody.ada)
    first = client.get("/alerts/history/?level=warning&pool=chat-8b")
    second = client.get(f"/alerts/history/?level=warning&after={first.context['next']}")
    ids = [row.pk for row, _ in [*first.context["rows"], *second.context["rows"]]]
    assert len(ids) == len(set(ids)) == PAGE + 6 and second.context["next"] is None
    assert client.get("/alerts/history/?pool=none").context["rows"] == []
    for odd in ("rule=x&level=moon", "after=99999999999999999999", "pool=%00", f"rule={rule.pk}"):
        assert client.get(f"/alerts/history/?{odd}").status_code in {200, 400}, odd
        assert client.get(f"/alerts/deliveries/?{odd}&state=x&event=y&channel=z").status_code in {200, 400}, odd


def test_who_may_not(everybody: Everybody, as_: As) -> None:
    rule = fire(everybody)
    channel = alert_channel_create(actor=OLGA, now=now(), name="ops", kind="email", target="ops@example.org").channel
    reads = [
        "/alerts/",
        "/alerts/history/",
        "/alerts/deliveries/",
        f"/alerts/rules/{rule.pk}/",
        f"/alerts/channels/{channel.pk}/",
    ]
    deeds = [
        f"/alerts/rules/{rule.pk}/{deed}/" for deed in ("mute", "unmute", "off", "delete", "edit", "restore/1")
    ] + [f"/alerts/channels/{channel.pk}/{deed}/" for deed in ("test", "secret", "delete", "edit", "restore/1")]
    deeds += [
        "/alerts/rules/new/",
        "/alerts/channels/new/",
        "/alerts/rules/recommended/",
        "/alerts/rules/take-back/?ids=1",
    ]
    for who in (everybody.eda, everybody.anna, everybody.vera):
        for at in reads:
            assert as_(who).get(at).status_code == 403, at
    for who in (everybody.eda, everybody.anna, everybody.vera, everybody.ada):
        for at in deeds:
            assert as_(who).post(at, {**FORM, "span": "1h", "confirm": ODD}).status_code == 403, at
    ada = as_(everybody.ada)
    for at in reads:
        text = ada.get(at).content.decode()
        assert (
            ada.get(at).status_code == 200
            and "Mute" not in text
            and "Send a test" not in text
            and "New rule" not in text
        )
    assert AlertRule.objects.count() == 1 and AlertRule.objects.get().muted_until is None
