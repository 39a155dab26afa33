"""The watch on real stores: alerts open once, clear once, are told once to each channel, whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connections

from pools.models import Alert, AlertChannel, AlertDelivery, AlertRule, Pool
from pools.models.alerts import DeliveryState, Metric
from pools.selectors.alert_values import alert_values
from pools.selectors.alerts import open_counts
from pools.selectors.overview import ROWS_KEY
from pools.senders.signing import genuine
from pools.services.alert_channels import alert_channel_create, alert_channel_secret
from pools.services.alert_deliveries import deliveries_owe, deliveries_send, delivery_retry, delivery_test
from pools.services.alert_rules import (
    RuleInput,
    alert_rule_change,
    alert_rule_create,
    alert_rule_mute,
    alert_rule_switch,
)
from pools.services.alert_secrets import secrets_valid
from pools.services.alerting import WATCH_LOCK, alerts_watch
from pools.services.live import live_send
from pools.tasks import alerts as alerts_task
from pools.tasks import deliveries as deliveries_task
from portal.lib.errors import DomainError
from portal.lib.hot import hot
from tests.cast import NOW, OLGA, World, later, pool_make, world_make
from tests.portal_cast import live_message
from tests.receiver import Receiver, receiving

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _private(settings: Any) -> None:
    settings.ALERT_PRIVATE_TARGETS = True


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def world() -> World:
    return world_make()


def tell(pool: Pool, **changes: Any) -> None:
    """The tick's message; the sums of the overview, which forget old rows, are left alone."""
    live_send([live_message(pool, **changes)])


def say(world: World, at: datetime, **changes: Any) -> None:
    """The tick's message at a moment."""
    tell(world.pool, at_ms=int(at.timestamp() * 1000), **changes)


def hook(receiver: Receiver, name: str = "pager") -> AlertChannel:
    return alert_channel_create(actor=OLGA, now=NOW, name=name, kind="webhook", target=receiver.url).channel


def rule(*channels: AlertChannel, **changes: Any) -> AlertRule:
    given = {
        "name": "Little headroom",
        "metric": Metric.HEADROOM,
        "thresholds": [("warning", 20.0), ("critical", 5.0)],
        "hysteresis": 5.0,
        "for_seconds": 10,
        "channels": channels,
        **changes,
    }
    return alert_rule_create(actor=OLGA, now=NOW, given=RuleInput(**given))


def look(world: World, second: float, headroom: float) -> datetime:
    """One look of the watch ``second`` seconds after the beginning at so many percent of headroom."""
    at = later(second)
    say(world, at, capacity=[100.0, 100.0, 100.0], hold=[0.0, 0.0, 0.0], use=[10.0, 100.0 - headroom, 10.0])
    alerts_watch(at)
    return at


def is_open() -> list[str]:
    return list(
        Alert.objects.filter(opened_at__isnull=False, cleared_at__isnull=True)
        .order_by("pk")
        .values_list("level", flat=True)
    )


def test_from_crossing_to_clear_once_each(world: World, receiver: Receiver) -> None:
    rule(hook(receiver))
    look(world, 0, 50)
    assert Alert.objects.count() == 0
    look(world, 5, 15)
    (pending,) = Alert.objects.all()
    assert pending.opened_at is None and pending.since == later(5), "crossed, not for long enough"
    look(world, 10, 15)
    assert is_open() == []
    for second in (15, 20, 25):
        look(world, second, 12)
    (alert,) = Alert.objects.all()
    assert is_open() == ["warning"] and alert.opened_at == later(15) and alert.since == later(5)
    assert alert.sentence == "chat-8b has 12\u00a0% of headroom left (KV cache): warning from 20\u00a0%."
    assert deliveries_send(later(25)).delivered == 1
    for second in (30, 40, 45):
        look(world, second, 3)
    assert is_open() == ["warning", "critical"] and open_counts() == {"warning": 1, "critical": 1}
    look(world, 50, 22)
    assert is_open() == ["warning"], "22 % is inside the hysteresis of 20 %, and behind that of 5 %"
    look(world, 55, 30)
    look(world, 60, 30)
    assert is_open() == [] and open_counts() == {}
    alert.refresh_from_db()
    assert alert.cleared_at == later(55) and alert.worst == 3 and alert.cleared_because == ""
    deliveries_send(later(60))
    assert sorted(receiver.events()) == ["cleared", "opened", "opened"], "an all-clear waits for its alarm to be told"
    deliveries_send(later(62))
    assert receiver.events()[-1] == "cleared" and len(receiver.got) == 4
    assert Alert.objects.count() == 2 and AlertDelivery.objects.count() == 4


def test_seconds_that_nobody_watched_do_not_count(world: World) -> None:
    rule(thresholds=[("warning", 20.0)], for_seconds=60)
    look(world, 0, 3)
    look(world, 600, 3)  # the worker was away for ten minutes
    look(world, 605, 3)
    assert is_open() == [] and Alert.objects.get().since == later(600)
    look(world, 640, 3)
    look(world, 660, 3)
    assert is_open() == ["warning"]


def test_the_message_is_signed_and_says_everything(world: World, receiver: Receiver) -> None:
    channel = hook(receiver)
    rule(channel, for_seconds=0)
    at = look(world, 0, 3)
    deliveries_send(at)
    got = receiver.got[0]
    assert genuine(*secrets_valid(channel, at), got.headers, got.body, at.timestamp())
    assert got.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    event = got.event
    alert = Alert.objects.get(level=event["data"]["level"])
    assert event["id"] == f"alert-{alert.pk}-opened" == got.headers["webhook-id"]
    assert (event["specversion"], event["type"], event["subject"]) == (
        "1.0",
        "token-pools.alert.opened",
        "pools/chat-8b",
    )
    assert event["data"]["value"] == 3 and event["data"]["metric"] == "headroom" and event["data"]["unit"] == "%"
    assert event["data"]["url"].endswith(f"/alerts/{alert.pk}/") and event["data"]["since"].endswith("Z")


def test_a_new_secret_signs_beside_the_old_one_for_a_day(world: World, receiver: Receiver) -> None:
    channel = hook(receiver)
    (old,) = secrets_valid(channel, NOW)
    made = alert_channel_secret(actor=OLGA, now=NOW, channel_id=channel.pk)
    assert made.secret != old
    for at in (later(60), later(86_500)):
        delivery_test(actor=OLGA, now=at, channel_id=channel.pk)
    first, second = receiver.got
    for secret in (old, made.secret):
        assert genuine(secret, first.headers, first.body, later(60).timestamp())
    assert not genuine(old, second.headers, second.body, later(86_500).timestamp())


def test_what_cannot_be_signed_waits_for_a_new_secret(world: World, receiver: Receiver, settings: Any) -> None:
    channel = hook(receiver)
    rule(channel, for_seconds=0, thresholds=[("warning", 20.0)])
    at = look(world, 0, 3)
    settings.SECRET_KEY = "another one, fifty characters long or a few more than that"
    assert deliveries_send(at).waiting == 1 and receiver.got == []
    row = AlertDelivery.objects.get()
    assert row.answer.startswith("The secret cannot be read any more: set a new one.") and row.next_attempt_at
    made = alert_channel_secret(actor=OLGA, now=at, channel_id=channel.pk)
    assert deliveries_send(row.next_attempt_at).delivered == 1
    assert genuine(made.secret, receiver.got[0].headers, receiver.got[0].body, row.next_attempt_at.timestamp())


def test_a_failing_receiver_is_tried_again_with_the_same_id_and_given_up(world: World, receiver: Receiver) -> None:
    rule(hook(receiver), for_seconds=0, thresholds=[("warning", 20.0)])
    at = look(world, 0, 3)
    receiver.answers = [(500, "broken", {})] * 20
    for number in range(1, 30):
        row = AlertDelivery.objects.get()
        if row.state != DeliveryState.WAITING:
            break
        assert row.next_attempt_at is not None
        assert deliveries_send(row.next_attempt_at - timedelta(seconds=1)).waiting == 0, "not before its time"
        at = row.next_attempt_at
        deliveries_send(at)
        row.refresh_from_db()
        assert row.attempts == number and row.tries[-1]["answer"] == "500 broken"
    assert row.state == DeliveryState.FAILED and len(receiver.got) == 10
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    receiver.answers = []
    delivery_retry(actor=OLGA, now=at, delivery_id=row.pk)
    assert deliveries_send(at).delivered == 1
    row.refresh_from_db()
    assert row.state == DeliveryState.DELIVERED and len(row.tries) == 11
    with pytest.raises(DomainError, match="delivered"):
        delivery_retry(actor=OLGA, now=at, delivery_id=row.pk)


def test_a_receiver_may_ask_for_a_longer_pause_and_may_want_no_more(world: World, receiver: Receiver) -> None:
    rule(hook(receiver), for_seconds=0, thresholds=[("warning", 20.0)])
    at = look(world, 0, 3)
    receiver.answers = [(503, "", {"Retry-After": "120"}), (410, "gone", {})]
    deliveries_send(at)
    row = AlertDelivery.objects.get()
    assert row.next_attempt_at == at + timedelta(seconds=120)
    deliveries_send(at + timedelta(seconds=120))
    row.refresh_from_db()
    assert row.state == DeliveryState.FAILED and row.answer == "410 gone"


def test_a_worker_that_dies_with_a_delivery_leaves_it_to_the_next(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule(hook(receiver), for_seconds=0, thresholds=[("warning", 20.0)])
    at = look(world, 0, 3)
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr("pools.services.alert_deliveries.send_all", lambda *a, **k: exit(1))
        deliveries_send(at)
    assert deliveries_send(at + timedelta(seconds=30)).delivered == 0, "hidden for a minute"
    assert deliveries_send(at + timedelta(seconds=61)).delivered == 1
    assert AlertDelivery.objects.get().attempts == 2


def test_e_mail_says_what_and_where(world: World) -> None:
    channel = alert_channel_create(
        actor=OLGA, now=NOW, name="ops", kind="email", target="ops@example.org, night@example.org"
    ).channel
    rule(channel, for_seconds=0, thresholds=[("critical", 20.0)])
    deliveries_send(look(world, 0, 3))
    (message,) = mail.outbox
    assert message.to == ["ops@example.org", "night@example.org"]
    assert message.subject.startswith("[critical] chat-8b has 3") and "Little headroom" in message.body
    assert f"/alerts/{Alert.objects.get().pk}/" in message.body
    assert AlertDelivery.objects.get().answer == "handed to the mail server"


def test_a_mute_is_quiet_and_tells_what_is_still_open_when_it_ends(world: World, receiver: Receiver) -> None:
    made = rule(hook(receiver), for_seconds=0, thresholds=[("warning", 20.0)])
    alert_rule_mute(actor=OLGA, now=NOW, rule_id=made.pk, until=later(60))
    look(world, 0, 3)
    look(world, 10, 50)
    look(world, 20, 3)
    assert is_open() == ["warning"] and AlertDelivery.objects.count() == 0, "the page knows, nobody is told"
    look(world, 61, 3)
    deliveries_send(later(61))
    assert receiver.events() == ["opened"], "the one that is still open; the one that came and went never is"
    alert_rule_mute(actor=OLGA, now=later(61), rule_id=made.pk, until=later(600))
    look(world, 70, 50)
    deliveries_send(later(70))
    assert receiver.events() == ["opened", "cleared"], "whoever was told is told that it is over"
    with pytest.raises(DomainError, match="ends in the future"):
        alert_rule_mute(actor=OLGA, now=later(61), rule_id=made.pk, until=later(60))


def test_switching_off_closes_and_tells(world: World, receiver: Receiver) -> None:
    made = rule(hook(receiver), for_seconds=0, thresholds=[("warning", 20.0)])
    deliveries_send(look(world, 0, 3))
    alert_rule_switch(actor=OLGA, now=later(5), rule_id=made.pk, enabled=False)
    look(world, 10, 3)
    deliveries_send(later(10))
    assert is_open() == [] and receiver.events() == ["opened", "cleared"]
    assert "switched off" in receiver.got[-1].event["data"]["sentence"]


def test_changed_terms_go_on_with_what_is_open(world: World, receiver: Receiver) -> None:
    made = rule(hook(receiver), for_seconds=0)
    look(world, 0, 3)
    assert is_open() == ["warning", "critical"]
    given = RuleInput("Little headroom", Metric.HEADROOM, [("warning", 20.0)], hysteresis=5, for_seconds=0)
    changed = alert_rule_change(actor=OLGA, now=later(5), rule_id=made.pk, given=given, revision=1)
    assert changed.revision == 2
    look(world, 10, 3)
    assert is_open() == ["warning"]
    assert Alert.objects.get(level="critical").cleared_because == "the rule no longer has this level"
    with pytest.raises(DomainError, match="changed"):
        alert_rule_change(actor=OLGA, now=later(5), rule_id=made.pk, given=given, revision=1)


def test_each_pool_by_itself_and_a_pool_that_goes_away(world: World) -> None:
    other = pool_make("code-8b")
    rule(for_seconds=0, thresholds=[("warning", 20.0)])
    at = later(0)
    for pool, used in ((world.pool, 99.0), (other, 95.0)):
        tell(pool, at_ms=int(at.timestamp() * 1000), capacity=[100.0] * 3, hold=[0.0] * 3, use=[used, 0.0, 0.0])
    alerts_watch(at)
    assert len(is_open()) == 2
    type(other).objects.filter(pk=other.pk).update(archived_at=at)
    look(world, 5, 3)
    assert is_open() == ["warning"]
    assert Alert.objects.get(pool=other).cleared_because == "no longer watched"


def test_unknown_is_neither_good_nor_bad(world: World, receiver: Receiver) -> None:
    rule(hook(receiver), for_seconds=0, thresholds=[("warning", 20.0)])
    look(world, 0, 3)
    hot().delete(ROWS_KEY)
    alerts_watch(later(5))
    assert is_open() == ["warning"]
    values = alert_values(later(5))[world.pool.pk].values
    assert values[Metric.HEADROOM] is None and values[Metric.REFUSAL_RATE] is None and values[Metric.DEBT] is None


def test_two_watches_at_once_open_once(world: World) -> None:
    """The lock is the database's: another session holds it, so this look changes nothing."""
    rule(for_seconds=0)
    held, go = threading.Event(), threading.Event()

    def other() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [WATCH_LOCK])
            held.set()
            go.wait(20)
            cursor.execute("ROLLBACK")
        connections["default"].close()

    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(20)
    try:
        look(world, 0, 3)
        assert is_open() == []
    finally:
        go.set()
        thread.join(20)
    look(world, 5, 3)
    assert is_open() == ["warning", "critical"]


def test_owing_twice_is_once(world: World, receiver: Receiver) -> None:
    rule(hook(receiver), for_seconds=0, thresholds=[("warning", 20.0)])
    look(world, 0, 3)
    assert deliveries_owe(later(1)) == 0
    hot().flushall()  # the store forgets everything, the books do not
    look(world, 5, 3)
    assert is_open() == ["warning"] and AlertDelivery.objects.count() == 1


def test_debt_names_whom(world: World) -> None:
    rule(name="Debt", metric=Metric.DEBT, thresholds=[("warning", 10.0)], hysteresis=1, for_seconds=0)
    say(world, NOW)
    alerts_watch(NOW)
    assert Alert.objects.get().sentence == (
        "chat-8b owes 20\u00a0% of its baseline to one entitlement (to Eve): warning from 10\u00a0%."
    )


def test_the_tasks_live_through_a_store_that_is_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    def away(*args: Any, **kwargs: Any) -> None:
        raise redis.ConnectionError("no")

    rule(for_seconds=0)
    monkeypatch.setattr("pools.selectors.alert_values.rows_read", away)
    alerts_task()
    monkeypatch.undo()
    say(world, NOW)
    alerts_task()
    deliveries_task()


def test_a_test_message_says_what_came_of_it(world: World, receiver: Receiver) -> None:
    channel = hook(receiver)
    row = delivery_test(actor=OLGA, now=NOW, channel_id=channel.pk)
    assert row.state == DeliveryState.DELIVERED and receiver.events() == ["test"]
    receiver.answers = [(404, "who?", {})]
    row = delivery_test(actor=OLGA, now=NOW, channel_id=channel.pk)
    assert row.state == DeliveryState.FAILED and row.answer == "404 who?", "a test is not tried again"
    assert receiver.got[0].headers["webhook-id"] != receiver.got[1].headers["webhook-id"]
    with pytest.raises(DomainError, match="There is no channel"):
        delivery_test(actor=OLGA, now=NOW, channel_id=0)
