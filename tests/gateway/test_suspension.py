"""A tenant is suspended in the books: a real gateway refuses it within a second, and cuts what runs where asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from pools.models import Endpoint as EndpointRow
from pools.services.binding import binding_reconcile
from pools.services.keys import key_create
from pools.services.offboarding import tenant_offboard
from pools.services.routes import route_publish
from pools.services.tenant_states import tenant_resume, tenant_suspend
from tests import cast
from tests.gateway.conftest import Running, Start
from tests.gateway.endpoint import Endpoint
from tests.gateway.test_bad_input import shaped
from tests.gateway.world import until

pytestmark = pytest.mark.django_db(transaction=True)
WITHIN_S = 1.0
BODY = {"model": "chat-8b", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 32}


async def done(deed: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """A deed on the books in a thread and on a connection of its own, as the portal does it."""

    def run() -> Any:
        try:
            return deed(*args, **more)
        finally:
            connection.close()

    return await asyncio.to_thread(run)


@dataclass
class Place:
    """Alice's key at a gateway before one endpoint."""

    gateway: Running
    world: cast.World
    headers: dict[str, str]

    def post(self, **more: object):  # type: ignore[no-untyped-def]
        return self.gateway.post(headers=self.headers, body={**BODY, **more})

    async def answer(self) -> tuple[int, str]:
        async with self.post() as answer:
            document = await answer.json()
            return answer.status, "" if answer.status == 200 else shaped(document)["code"]

    async def suspend(self, **more: bool) -> None:
        tenant_id = self.world.alice.tenant_id
        deed = partial(tenant_suspend, actor=cast.OLGA, now=cast.later(1), tenant_id=tenant_id, reason="unpaid")
        await done(deed, **more)

    async def resume(self) -> None:
        await done(tenant_resume, actor=cast.OLGA, now=cast.later(2), tenant_id=self.world.alice.tenant_id)
        await done(binding_reconcile, self.world.pool.pk, cast.later(3))


@pytest.fixture
def books(valkey: object, transactional_db: None) -> tuple[cast.World, str]:
    """The world, and Alice's key."""
    world = cast.world_make()
    return world, key_create(actor=cast.OLGA, now=cast.NOW, tenant=world.alice.tenant, name="k").plaintext


@pytest.fixture
async def place(books: tuple[cast.World, str], endpoint: Endpoint, start: Start) -> Place:
    def connect() -> None:
        EndpointRow.objects.update(url=endpoint.url)
        route_publish(books[0].pool.pk, cast.NOW)

    await done(connect)
    gateway = await start(secret_key=settings.SECRET_KEY)
    return Place(gateway, books[0], {"authorization": f"Bearer {books[1]}"})


async def test_a_suspended_tenant_is_refused_within_a_second_and_let_in_again(place: Place) -> None:
    assert await place.answer() == (200, "")
    began = time.monotonic()
    await place.suspend()

    async def refused() -> bool:
        return await place.answer() == (403, "tenant_suspended")

    await until(refused)
    assert time.monotonic() - began < WITHIN_S
    async with place.gateway.http.get(place.gateway.url + "/v1/models", headers=place.headers) as answer:
        assert answer.status == 403 and answer.headers["x-should-retry"] == "false"
    await place.resume()

    async def admitted() -> bool:
        return await place.answer() == (200, "")

    await until(admitted)


async def test_a_stream_runs_on_unless_it_is_to_be_ended(place: Place, endpoint: Endpoint) -> None:
    endpoint.behaviours.append("opened")
    async with place.post(stream=True) as first:
        await first.content.readline()
        await place.suspend()
        endpoint.let_go()
        assert b"[DONE]" in await first.read(), "it ends by itself"


async def test_a_stream_is_cut_where_that_was_asked(place: Place, endpoint: Endpoint) -> None:
    endpoint.behaviours.append("opened")
    async with place.post(stream=True) as answer:
        await answer.content.readline()
        await place.suspend(end_running=True)
        text = await asyncio.wait_for(answer.read(), 5)
        assert b"tenant_suspended" in text and b"[DONE]" not in text
    await asyncio.wait_for(endpoint.aborted.wait(), 5)


async def test_an_offboarded_tenants_key_is_unknown_within_a_second(place: Place) -> None:
    assert await place.answer() == (200, "")
    began = time.monotonic()
    await done(
        tenant_offboard,
        actor=cast.OLGA,
        now=cast.later(1),
        tenant_id=place.world.alice.tenant_id,
        confirm="alice",
        reason="gone",
        without_export=True,
    )

    async def refused() -> bool:
        return await place.answer() == (401, "invalid_api_key")

    await until(refused)
    assert time.monotonic() - began < WITHIN_S
