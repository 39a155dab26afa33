"""One uvicorn as it is run, one real websocket client."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from portal.accounts.choices import PlatformRole
from portal.accounts.models import User
from tests import cast
from tests.portal_cast import collect_static, free_port, person, portal, publish


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
async def test_over_the_wire(process_environment: dict[str, str], cookie_of: Callable[[User], str]) -> None:
    world = await sync_to_async(cast.world_make)()
    olga = await sync_to_async(person)("olga@example.org", PlatformRole.OPERATOR)
    cookie = await sync_to_async(cookie_of)(olga)
    collect_static(process_environment)
    port = free_port()
    with portal(process_environment, port) as address:
        path = f"ws://127.0.0.1:{port}/ws/pools/{world.pool.pk}/"
        async with connect(path, origin=address, additional_headers={"Cookie": cookie}) as socket:  # type: ignore[arg-type]
            sent = await sync_to_async(publish)(world.pool, busy=0.25)
            assert json.loads(await socket.recv()) == json.loads(sent)
        for headers, origin in (({}, address), ({"Cookie": cookie}, "http://evil.example")):
            with pytest.raises(InvalidStatus) as refused:
                await connect(path, origin=origin, additional_headers=headers)  # type: ignore[arg-type]
            assert refused.value.response.status_code == 403
