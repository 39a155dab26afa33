"""A page of operators hears of the rows it shows: by its wish, or of none where a pool has thousands."""

from __future__ import annotations

import json
from collections.abc import Callable

import orjson
import pytest
from asgiref.sync import sync_to_async

from pools.selectors.live import WHOLE, live_rows_only, live_wanted
from portal.accounts.models import User
from portal.live.message import PageTexts
from tests.live.test_sockets import knock, world_and
from tests.portal_cast import publish

Cookie = Callable[[User], str]


def message(rows: int) -> str:
    """A message of so many rows."""
    return orjson.dumps({"v": 1, "at": 1, "pool": {}, "rows": [[n, 1, "x" * 200] for n in range(rows)]}).decode()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"rows":[1,2]}', {1, 2}),
        ('{"rows":[]}', set()),
        ('{"rows":"all"}', None),
        ('{"rows":[1.5]}', None),
        ('{"rows":[true]}', None),
        ("[]", None),
        ("nonsense", None),
        ('{"rows":[' + ",".join(["1"] * 601) + "]}", None),
    ],
)
def test_wishes_are_read_with_care(text: str, wanted: set[int] | None) -> None:
    found = live_wanted(text)
    assert found == wanted if wanted is not None else found is None


def test_a_small_message_is_whole_and_a_large_one_is_cut() -> None:
    small, large = message(50), message(2000)
    assert len(small) < WHOLE < len(large)
    assert live_rows_only(small, None) is small
    assert orjson.loads(live_rows_only(large, None)) == {"v": 1, "at": 1, "pool": {}, "rows": [], "cut": True}
    cut = orjson.loads(live_rows_only(large, frozenset({3, 1999, 5000})))
    assert [row[0] for row in cut["rows"]] == [3, 1999]
    assert len(live_rows_only(large, frozenset(range(64)))) < 20_000


def test_pages_with_the_same_rows_share_one_text() -> None:
    texts, large = PageTexts(), message(2000)
    first = texts.get(large, frozenset({1, 2}))
    assert texts.get(large, frozenset({2, 1})) is first
    assert texts.get(message(2000), frozenset({1, 2})) is not first
    assert texts.get(message(3), None) == message(3)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
async def test_a_wish_narrows_what_is_sent_from_then_on(cookie_of: Cookie) -> None:
    world, (olga,) = await world_and("olga")
    await sync_to_async(publish)(world.pool)
    socket = knock(f"/ws/pools/{world.pool.pk}/", await sync_to_async(cookie_of)(olga))
    assert (await socket.connect())[0]
    assert len(json.loads(await socket.receive_from())["rows"]) == 3
    await socket.send_to(json.dumps({"rows": [world.eve.pk]}))
    assert [row[0] for row in json.loads(await socket.receive_from())["rows"]] == [world.eve.pk]
    await socket.send_to("nonsense")
    await sync_to_async(publish)(world.pool)
    assert [row[0] for row in json.loads(await socket.receive_from())["rows"]] == [world.eve.pk]
    await socket.disconnect()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
async def test_a_tenant_cannot_wish_for_others(cookie_of: Cookie) -> None:
    world, (eda,) = await world_and("eda")
    await sync_to_async(publish)(world.pool)
    socket = knock(f"/ws/t/eve/pools/{world.pool.pk}/", await sync_to_async(cookie_of)(eda))
    assert (await socket.connect())[0]
    await socket.receive_from()
    await socket.send_to(json.dumps({"rows": [world.alice.pk]}))
    await sync_to_async(publish)(world.pool)
    assert [row[0] for row in json.loads(await socket.receive_from())["rows"]] == [world.eve.pk]
    await socket.disconnect()
