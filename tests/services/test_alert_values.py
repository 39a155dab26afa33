"""What the watch sees: every metric from real stores, drift that is noticed and put right, readings for the charts."""

from __future__ import annotations

from typing import Any

import pytest

from pools.choices import EndpointState
from pools.counters.keys import reservation_key
from pools.counters.types import Ask
from pools.models import Alert, Endpoint, Pool, Reading
from pools.models.alerts import Metric
from pools.selectors.alert_values import alert_values
from pools.selectors.overview import ROWS_KEY
from pools.services.alert_rules import RuleInput, alert_rule_create
from pools.services.alerting import alerts_watch
from pools.services.drift import counters_recount, drift_measure
from pools.services.live import live_send
from pools.services.store import counters
from portal.lib.hot import hot
from tests.cast import KV_TOKEN, NOW, OLGA, World, later, world_make
from tests.portal_cast import live_message

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    return world_make()


def tell(pool: Pool, **changes: Any) -> None:
    """The tick's message; the sums of the overview, which forget old rows, are left alone."""
    live_send([live_message(pool, **changes)])


def say(world: World, second: float, **changes: Any) -> None:
    """The tick's message at a moment, with half the KV cache in use."""
    given = {"capacity": [100.0] * 3, "hold": [0.0] * 3, "use": [10.0, 50.0, 10.0], **changes}
    tell(world.pool, at_ms=int(later(second).timestamp() * 1000), **given)


def test_every_metric_has_its_value(world: World) -> None:
    at_ms = int(NOW.timestamp() * 1000)
    tell(world.pool, at_ms=at_ms, admitted_total=10, refused_total=0, lag_ms=40)
    alert_values(NOW, remember=True)
    tell(world.pool, at_ms=at_ms + 30_000, admitted_total=25, refused_total=5, lag_ms=40)
    Endpoint.objects.create(pool=world.pool, name="dead", state=EndpointState.FAILED.value, state_since=later(20))
    Endpoint.objects.create(pool=world.pool, name="old", state=EndpointState.FAILED.value, state_since=later(-900))
    drift_measure([world.pool.pk], NOW)
    found = alert_values(later(30), remember=True)[world.pool.pk]
    assert found.values[Metric.REFUSAL_RATE] == 25.0
    assert found.values[Metric.DEBT] == 20.0 and found.details[Metric.DEBT] == world.eve.pk
    assert found.values[Metric.TICK_LAG] == 40 and found.values[Metric.DRIFT] == 0
    assert found.values[Metric.ENDPOINT_FAILURE] == 1
    assert found.row()[list(Metric).index(Metric.DEBT)] == 20.0
    assert alert_values(later(90))[world.pool.pk].values[Metric.TICK_LAG] == 59_000, "no tick at all is late, too"
    hot().delete(ROWS_KEY)
    assert alert_values(later(3600))[world.pool.pk].values[Metric.TICK_LAG] == 120_000


def test_a_pool_without_any_replica_has_no_headroom(world: World) -> None:
    say(world, 0, capacity=[0.0] * 3, use=[0.0] * 3)
    assert alert_values(NOW)[world.pool.pk].values[Metric.HEADROOM] == 0.0
    type(world.pool).objects.update(min_replicas=0, wanted_replicas=0)
    assert alert_values(NOW)[world.pool.pk].values[Metric.HEADROOM] is None, "none is wanted, so nothing is missing"


def test_drift_is_noticed_and_put_right(world: World) -> None:
    given = RuleInput("Drift", Metric.DRIFT, [("warning", 1.0)], for_seconds=0)
    alert_rule_create(actor=OLGA, now=NOW, given=given)
    pool, alice = world.pool, world.alice
    assert counters().reserve(Ask(pool.pk, alice.pk, "r1", 64, 64 * KV_TOKEN)).admitted
    hot().delete(reservation_key(pool.pk, alice.pk, "r1"))
    drift_measure([pool.pk, 987_654], NOW)
    say(world, 0)
    alerts_watch(NOW)
    assert Alert.objects.get().cleared_at is None and "1\u00a0sequence" in Alert.objects.get().sentence
    assert counters_recount(actor=OLGA, now=NOW, pool=pool).sequences == 1
    say(world, 5)
    alerts_watch(later(5))
    assert Alert.objects.get().cleared_at == later(5)


def test_readings_are_kept_for_the_charts_not_at_every_look(world: World) -> None:
    for second in (0, 5):
        say(world, second)
        alerts_watch(later(second))
    (reading,) = Reading.objects.all()
    assert reading.at == NOW and reading.metrics[0] == 50
