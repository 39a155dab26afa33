"""A gateway says that it serves, so that the control plane can list who does and in which version."""

from __future__ import annotations

import asyncio

import orjson

from portal import __version__
from portal.lib.pulse import GATEWAYS_KEY
from tests.gateway.conftest import Running
from tests.gateway.world import World, until


async def test_it_gives_signs_of_life(gateway: Running, world: World) -> None:
    async def told() -> bool:
        return bool(await asyncio.to_thread(world.raw.hlen, GATEWAYS_KEY))

    await until(told)
    ((name, text),) = world.raw.hgetall(GATEWAYS_KEY).items()
    found = orjson.loads(text)
    assert found["version"] == __version__ and found["ready"] and not found["draining"] and found["requests"] == 0
    assert found["began"] <= found["at"] and name
