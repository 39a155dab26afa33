"""The overview: tightest first, silent pools said so, alerts counted, as many queries for 40 pools as for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.test import Client

from pools.models import Alert, AlertRule, PoolSample
from pools.selectors.overview import ALL_POOLS
from portal.accounts.models import User
from portal.lib.clock import now
from tests import cast
from tests.portal_cast import publish
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


def test_the_tightest_pool_comes_first_and_a_silent_one_before_it(everybody: Everybody, as_: As) -> None:
    for slug, busy in (("roomy", 0.1), ("silent", None)):
        pool = cast.pool_make(slug)
        if busy is not None:
            publish(pool, use=[1.0, 1.0, 1.0])
    publish(everybody.world.pool, busy=0.95)
    answer = as_(everybody.olga).get("/overview/")
    assert [line.pool.slug for line in answer.context["lines"]] == ["silent", "chat-8b", "roomy"]
    text = answer.content.decode()
    assert "no live data" in text and "1 of 3 pools sends no live data: silent." in text


def test_tiles_say_what_is_there_and_what_is_not(everybody: Everybody, as_: As) -> None:
    publish(everybody.world.pool, waiting=3, refused={"kv_budget": 4})
    shown = {tile.key: tile for tile in as_(everybody.ada).get("/overview/").context["tiles"]}
    assert list(shown) == ["capacity", "promised", "use", "headroom", "refused", "waiting", "alerts"]
    assert (shown["waiting"].value, shown["alerts"].value) == ("3", "0")
    assert all(tile.url for tile in shown.values())
    publish(everybody.world.pool, at_ms=1)
    blank = {tile.key: tile for tile in as_(everybody.ada).get("/overview/").context["tiles"]}
    assert blank["use"].value == "–" and blank["use"].sub == "no data"


def test_open_alerts_are_counted_and_listed(everybody: Everybody, as_: As) -> None:
    rule = AlertRule.objects.create(name="room", metric="headroom", below=True, thresholds=[])
    for number in range(10):
        level = f"level{number}"
        fields: dict[str, Any] = {"threshold": 5, "value": 3, "worst": 3, "since": now(), "opened_at": now()}
        fields["seen_at"] = now()
        Alert.objects.create(rule=rule, pool=everybody.world.pool, level=level, sentence=f"Tight {number}.", **fields)
    Alert.objects.create(rule=rule, pool=None, level="over", sentence="Gone.", cleared_at=now(), **fields)
    text = as_(everybody.olga).get("/overview/latest/").content.decode()
    assert 'data-alerts="10"' in text and "8 of 10" in text and "Tight 9." in text and "Gone." not in text


def test_forty_pools_ask_no_more_queries_than_one(
    everybody: Everybody, as_: As, django_assert_max_num_queries: Any
) -> None:
    for number in range(40):
        publish(cast.pool_make(f"pool-{number}"))
    client = as_(everybody.olga)
    client.get("/overview/")
    with django_assert_max_num_queries(8):
        assert len(client.get("/overview/").context["lines"]) == 41
    assert len(client.get("/overview/live/").json()["rows"]) == 41


def test_charts_draw_the_sums(everybody: Everybody, as_: As) -> None:
    (kept,) = PoolSample.objects.filter(pool_id=ALL_POOLS)
    found = as_(everybody.olga).get("/overview/charts/?range=1h&dimension=slots").json()
    roles = {trace["meta"]["role"]: trace["y"] for trace in found["use"]["data"]}
    assert roles["use"] == [kept.use[2]] and roles["capacity"] == [32]
    assert {trace["meta"]["role"] for trace in found["replicas"]["data"]} == {"ready", "pending", "wanted", "decision"}


def test_the_poll_answers_like_the_socket_and_with_nothing_before_the_first_tick(
    everybody: Everybody, as_: As, valkey: Any
) -> None:
    client = as_(everybody.olga)
    found = client.get("/overview/live/").json()
    assert found["full"] and "seen" not in found and found["v"] == 1
    valkey.flushall()
    client = as_(everybody.olga)
    assert client.get("/overview/live/").json() == {}
