"""The overview's socket: everything at first, then what changed; nothing for tenants; nothing lost by a slow reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from pools.models import PoolSample
from pools.selectors.overview import ALL_POOLS, WIRE, overview_sentence
from pools.services.overview import overview_send
from portal.accounts.choices import PlatformRole
from portal.accounts.models import User
from portal.asgi import application
from portal.lib.clock import now_ms
from portal.lib.hot import hot
from portal.live import consumers
from portal.live.hub import hub
from portal.live.overview import OverviewState
from tests import cast
from tests.live.browser_socket import BrowserSocket
from tests.portal_cast import person, publish

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]
Cookie = Callable[[User], str]


def knock(cookie: str = "") -> BrowserSocket:
    headers = [(b"host", b"testserver"), (b"origin", b"http://testserver"), (b"cookie", cookie.encode())]
    return BrowserSocket(application, "/ws/overview/", headers=headers)


@sync_to_async
def world_of_two() -> tuple[cast.World, Any, User]:
    """Two pools, of which one has entitlements; olga operates."""
    world = cast.world_make()
    other = cast.pool_make("embed")
    return world, other, person("olga@example.org", PlatformRole.OPERATOR)


async def hear(socket: BrowserSocket) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await socket.receive_from())
    return found


async def test_everything_at_first_then_only_what_changed(cookie_of: Cookie) -> None:
    world, other, olga = await world_of_two()
    for pool in (world.pool, other):
        await sync_to_async(publish)(pool, busy=0.5)
    socket = knock(await sync_to_async(cookie_of)(olga))
    assert (await socket.connect())[0]
    first = await hear(socket)
    assert first["full"] and {row[0] for row in first["rows"]} == {world.pool.pk, other.pk}
    assert len(first["rows"][0]) == len(WIRE) and "seen" not in first
    assert first["totals"]["pools"] == 2
    await sync_to_async(publish)(world.pool, busy=0.75)
    second = await hear(socket)
    assert not second["full"] and [row[0] for row in second["rows"]] == [world.pool.pk]
    assert second["totals"]["use"][2] == pytest.approx(0.75 * (6 + 10 + 16))
    await sync_to_async(publish)(world.pool, busy=0.75)
    third = await hear(socket)
    assert third["rows"] == [] and third["at"] >= second["at"], "nothing moved; the age is fresh all the same"
    await socket.disconnect()
    assert hub().feeds == {}


async def test_a_second_socket_begins_with_everything_the_first_one_heard(cookie_of: Cookie) -> None:
    world, other, olga = await world_of_two()
    cookie = await sync_to_async(cookie_of)(olga)
    early, late = knock(cookie), knock(cookie)
    assert (await early.connect())[0]
    await sync_to_async(publish)(other)
    await hear(early)
    await sync_to_async(publish)(world.pool)
    await hear(early)
    assert (await late.connect())[0]
    assert len((await hear(late))["rows"]) == 2
    assert len(hub().feeds[ALL_POOLS].listeners) == 2
    for socket in (early, late):
        await socket.disconnect()


@pytest.mark.parametrize("who", ["nobody", "eda"])
async def test_tenants_and_strangers_are_refused(who: str, cookie_of: Cookie) -> None:
    world, _, _ = await world_of_two()
    cookie = ""
    if who == "eda":
        eda = await sync_to_async(lambda: person("eda@example.org", tenant=world.eve.tenant))()
        cookie = await sync_to_async(cookie_of)(eda)
    opened, code = await knock(cookie).connect()
    assert not opened and code in (None, consumers.FORBIDDEN, consumers.SIGN_IN)


def state(*rows: list[Any]) -> bytes:
    return json.dumps({"v": 1, "at": 1, "sentence": "", "totals": {}, "seen": {}, "rows": list(rows)}).encode()


def test_a_slow_listener_gets_all_it_missed_in_one_message() -> None:
    known = OverviewState()
    known.take(state([1, "a"], [2, "a"], [3, "a"]))
    seen = known.number
    known.take(state([1, "b"], [2, "a"], [3, "a"]))
    known.take(state([1, "b"], [2, "c"]))
    missed = json.loads(known.since(seen))
    assert missed["rows"] == [[1, "b"], [2, "c"]] and missed["gone"] == [3]
    assert json.loads(known.since(known.number))["rows"] == []
    known.take(state([1, "b"], [2, "c"], [3, "d"]))
    back = json.loads(known.since(seen))
    assert [3, "d"] in back["rows"] and back["gone"] == []


def test_sums_are_kept_as_pool_nothing_and_refusals_are_counted_once() -> None:
    world = cast.world_make()
    publish(world.pool, refused={"kv_budget": 3})
    (first,) = PoolSample.objects.filter(pool_id=ALL_POOLS)
    assert (first.ready, first.capacity[2], first.refused) == (2, 32, {"kv_budget": 3})
    moment = now_ms()
    assert overview_send(moment + 1000).refused == {}, "the pool wrote no new row"  # type: ignore[union-attr]
    publish(world.pool, at_ms=moment + 2000, refused={"kv_budget": 2, "pool_full": 1})
    overview_send(moment + 6000)
    newest = PoolSample.objects.filter(pool_id=ALL_POOLS).latest("at")
    assert newest.refused == {"kv_budget": 2, "pool_full": 1}


def test_a_silent_pool_is_left_out_and_forgotten_later() -> None:
    world = cast.world_make()
    publish(world.pool)
    assert overview_send(now_ms() + 61_000) is None
    assert hot().hlen("tp:overview") == 1
    overview_send(now_ms() + 601_000)
    assert hot().hlen("tp:overview") == 0


def test_the_sentence_does_not_hide_refusals_behind_free_capacity() -> None:
    assert overview_sentence([("a", 0.5), ("b", 0.2)], 1080.4) == (
        "Every pool has room to spare; 1,080 requests a minute are refused."
    )


@pytest.mark.parametrize(
    ("free", "sentence"),
    [
        ([], "There is no pool yet."),
        ([("a", 0.5)], "The pool has room to spare."),
        ([("a", 0.5), ("b", 0.2)], "Every pool has room to spare."),
        ([("a", 0.1), ("b", 0.2)], "1 of 2 pools has little room left: a."),
        ([("a", None)], "1 of 1 pool sends no live data: a."),
        ([(name, None) for name in "abcdef"], "6 of 6 pools send no live data: a, b, c, d and 2 more."),
    ],
)
def test_the_sentence_names_what_needs_a_look(free: list[tuple[str, float | None]], sentence: str) -> None:
    assert overview_sentence(free) == sentence
