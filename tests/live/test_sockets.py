"""Who gets in, what they are told, and that a process subscribes once however many look. Real Channels, real Valkey."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from portal.accounts.choices import PlatformRole
from portal.accounts.models import Membership, User
from portal.asgi import application
from portal.live import consumers
from portal.live.hub import hub
from portal.live.rights import RIGHTS
from tests import cast
from tests.live.browser_socket import BrowserSocket
from tests.portal_cast import person, publish

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]
Cookie = Callable[[User], str]


def knock(path: str, cookie: str = "", origin: str = "http://testserver", host: str = "testserver") -> BrowserSocket:
    """A browser at a socket's door."""
    headers = [(b"host", host.encode()), (b"origin", origin.encode()), (b"cookie", cookie.encode())]
    return BrowserSocket(application, path, headers=headers)


@sync_to_async
def world_and(*people: str) -> tuple[cast.World, list[User]]:
    """The cast's world; olga operates, eda belongs to Eve's team."""
    world = cast.world_make()
    made = {
        "olga": lambda: person("olga@example.org", PlatformRole.OPERATOR),
        "ada": lambda: person("ada@example.org", PlatformRole.AUDITOR),
        "eda": lambda: person("eda@example.org", tenant=world.eve.tenant),
    }
    return world, [made[name]() for name in people]


async def test_operator_gets_the_snapshot_then_every_message(cookie_of: Cookie) -> None:
    world, (olga,) = await world_and("olga")
    await sync_to_async(publish)(world.pool, sentence="first")
    socket = knock(f"/ws/pools/{world.pool.pk}/", await sync_to_async(cookie_of)(olga))
    assert (await socket.connect())[0]
    assert json.loads(await socket.receive_from())["pool"]["sentence"] == "first"
    sent = await sync_to_async(publish)(world.pool, sentence="second")
    assert await socket.receive_from() == sent.decode(), "forwarded as it was written, not encoded again"
    await socket.disconnect()
    assert hub().feeds == {}


async def test_tenant_sees_its_own_rows_and_no_sum_of_others(cookie_of: Cookie) -> None:
    world, (eda,) = await world_and("eda")
    await sync_to_async(publish)(world.pool)
    socket = knock(f"/ws/t/eve/pools/{world.pool.pk}/", await sync_to_async(cookie_of)(eda))
    assert (await socket.connect())[0]
    for _ in range(2):
        seen = json.loads(await socket.receive_from())
        assert [row[0] for row in seen["rows"]] == [world.eve.pk]
        assert not {"use", "capacity", "sentence", "refused"} & set(seen["pool"])
        await sync_to_async(publish)(world.pool, busy=0.7)
    await socket.disconnect()


@pytest.mark.parametrize(
    "path", ["/ws/pools/{pool}/", "/ws/t/alice/pools/{pool}/", "/ws/t/eve/pools/999/", "/ws/elsewhere/"]
)
async def test_another_tenant_is_refused(path: str, cookie_of: Cookie) -> None:
    world, (eda,) = await world_and("eda")
    socket = knock(path.format(pool=world.pool.pk), await sync_to_async(cookie_of)(eda))
    assert await socket.connect() == (False, consumers.FORBIDDEN)


async def test_nobody_is_refused() -> None:
    world, _ = await world_and()
    assert (await knock(f"/ws/pools/{world.pool.pk}/").connect())[0] is False


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://testserver.evil.example", "http://testserver:81", "null", ""]
)
async def test_foreign_origin_is_refused(origin: str, cookie_of: Cookie) -> None:
    world, (olga,) = await world_and("olga")
    socket = knock(f"/ws/pools/{world.pool.pk}/", await sync_to_async(cookie_of)(olga), origin)
    assert await socket.connect() == (False, consumers.FORBIDDEN)


async def test_one_subscription_for_many_listeners(cookie_of: Cookie) -> None:
    world, (olga, ada) = await world_and("olga", "ada")
    cookies = [await sync_to_async(cookie_of)(user) for user in (olga, ada)]
    sockets = [knock(f"/ws/pools/{world.pool.pk}/", cookies[index % 2]) for index in range(6)]
    for socket in sockets:
        assert (await socket.connect())[0]
    assert set(hub().feeds) == {RIGHTS, world.pool.pk} and len(hub().feeds[world.pool.pk].listeners) == 6
    await sync_to_async(publish)(world.pool, sentence="all")
    for socket in sockets:
        assert json.loads(await socket.receive_from())["pool"]["sentence"] == "all"
        await socket.disconnect()
    assert hub().feeds == {}


async def test_who_lost_the_right_is_cut_off(cookie_of: Cookie, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "RECHECK_S", 0.05)
    world, (eda,) = await world_and("eda")
    socket = knock(f"/ws/t/eve/pools/{world.pool.pk}/", await sync_to_async(cookie_of)(eda))
    assert (await socket.connect())[0]
    await sync_to_async(Membership.objects.filter(user=eda).delete)()
    assert (await socket.receive_output(5)) == {"type": "websocket.close", "code": consumers.FORBIDDEN}


@sync_to_async
def _change(what: str, eda: User) -> None:
    """A change of Eda's rights by the deed that a page would call."""
    from pools.services.tenants import membership_end
    from portal.accounts.models import Tenant
    from portal.people.account import sessions_end
    from portal.people.roles import user_active_set

    if what == "deactivated":
        user_active_set(actor=cast.OLGA, now=cast.NOW, user_id=eda.pk, active=False)
    elif what == "taken out":
        membership_end(actor=cast.OLGA, now=cast.NOW, tenant=Tenant.objects.get(slug="eve"), user=eda)
    else:
        sessions_end(actor=cast.OLGA, now=cast.NOW, user=eda)


@pytest.mark.parametrize("what", ["deactivated", "taken out", "signed out everywhere"])
async def test_a_change_of_rights_cuts_open_sockets_at_once(what: str, cookie_of: Cookie) -> None:
    world, (eda,) = await world_and("eda")
    cookie = await sync_to_async(cookie_of)(eda)
    await sync_to_async(Client(headers={"cookie": cookie}).get)("/t/eve/")  # the first page notes the session
    socket = knock(f"/ws/t/eve/pools/{world.pool.pk}/", cookie)
    assert (await socket.connect())[0]
    await _change(what, eda)
    assert (await socket.receive_output(5)) == {"type": "websocket.close", "code": consumers.FORBIDDEN}
    await socket.disconnect()
    assert hub().feeds == {}


async def test_others_are_not_cut(cookie_of: Cookie) -> None:
    world, (olga, eda) = await world_and("olga", "eda")
    socket = knock(f"/ws/pools/{world.pool.pk}/", await sync_to_async(cookie_of)(olga))
    assert (await socket.connect())[0]
    await _change("deactivated", eda)
    sent = await sync_to_async(publish)(world.pool, sentence="still here")
    assert await socket.receive_from() == sent.decode()
    await socket.disconnect()


async def test_a_slow_reader_skips_old_states(cookie_of: Cookie) -> None:
    world, (olga,) = await world_and("olga")
    socket = knock(f"/ws/pools/{world.pool.pk}/", await sync_to_async(cookie_of)(olga))
    assert (await socket.connect())[0]
    feed = hub().feeds[world.pool.pk]
    for number in range(50):
        feed.spread(json.dumps({"n": number}))
    assert json.loads(await socket.receive_from()) == {"n": 49}
    assert await socket.receive_nothing(0.05)
    await socket.disconnect()
