"""Keys: none, wrong, foreign, expired, revoked, guessed by the thousand."""

from __future__ import annotations

import asyncio
import time

import pytest

from pools.counters import keys as names
from pools.gateway.keys import MAX_UNKNOWN
from portal.lib.secrets import MANAGEMENT_PREFIX, key_digest, new_key
from tests.gateway.conftest import Running, Start
from tests.gateway.endpoint import Endpoint
from tests.gateway.test_bad_input import shaped
from tests.gateway.world import SECRET, World, until


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": "Bearer sk-somebody-elses"},
        {"authorization": "Bearer " + "tp_live_" + "x" * 5000},
        {"authorization": "Bearer tp_live_\u00e9\u00e9"},
        {"api-key": "tp_live_unknown"},
    ],
)
async def test_wrong_keys(gateway: Running, world: World, headers: dict[str, str]) -> None:
    for request in (gateway.post(headers=headers), gateway.http.get(gateway.url + "/v1/models", headers=headers)):
        async with request as answer:
            assert answer.status == 401 and answer.headers["x-should-retry"] == "false"
            error = shaped(await answer.json())
            assert error["code"] == "invalid_api_key" and "tp_live_" not in error["message"]
    assert world.untouched()


async def test_a_key_is_taken_from_the_api_key_header_too(gateway: Running, world: World) -> None:
    key = world.entitle()
    async with gateway.post(headers={"api-key": key.plaintext}) as answer:
        assert answer.status == 200


async def test_a_management_key_does_not_infer(gateway: Running, world: World) -> None:
    plaintext = new_key(MANAGEMENT_PREFIX)
    async with gateway.post(headers={"authorization": f"Bearer {plaintext}"}) as answer:
        assert answer.status == 401
    gateway_like = new_key()
    document = {"v": 1, "key_id": 1, "tenant": "x", "kind": "management", "expires_at": None, "models": {}}
    world.put(names.key_document(key_digest(gateway_like, SECRET)), document)
    async with gateway.post(headers={"authorization": f"Bearer {gateway_like}"}) as answer:
        assert answer.status == 401


async def test_an_expired_key(gateway: Running, world: World) -> None:
    key = world.entitle(expires_at=time.time() - 1)
    async with gateway.post(key) as answer:
        assert answer.status == 401 and shaped(await answer.json())["code"] == "expired_api_key"
    async with gateway.post(world.entitle(expires_at=time.time() + 60)) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("tell", [True, False])
async def test_a_revoked_key_stops_within_a_second(gateway: Running, world: World, tell: bool) -> None:
    """Also when the message that announces it is lost."""
    key = world.entitle()
    async with gateway.post(key) as answer:
        assert answer.status == 200
    began = time.monotonic()
    world.revoke(key, tell=tell)

    async def refused() -> bool:
        async with gateway.post(key) as answer:
            return bool(answer.status == 401)

    await until(refused)
    assert time.monotonic() - began < (0.3 if tell else 1.0)


async def test_guessing_ten_thousand_keys_does_not_fill_the_memory(gateway: Running, world: World) -> None:
    key = world.entitle()
    keys = gateway.gateway.keys

    async def guess(number: int) -> None:
        scope = {"headers": [(b"authorization", b"Bearer tp_live_guess%d" % number)]}
        with pytest.raises(Exception, match="unknown or has been revoked"):
            await keys.look_up(scope, 0.0)

    for first in range(0, 10_000, 500):
        await asyncio.gather(*(guess(number) for number in range(first, first + 500)))
    assert len(keys) <= MAX_UNKNOWN + 1
    async with gateway.post(key) as answer:  # and the honest are still served
        assert answer.status == 200


async def test_a_foreign_key_sees_only_its_own_models(world: World, endpoint: Endpoint, start: Start) -> None:
    world.pool(endpoint.url)
    gateway = await start()
    key = world.entitle()
    digest = key_digest(foreign := new_key(), SECRET)
    document = {"v": 1, "key_id": 9, "tenant": "other", "kind": "gateway", "expires_at": None, "models": {}}
    world.put(names.key_document(digest), document)
    headers = {"authorization": f"Bearer {foreign}"}
    async with gateway.post(headers=headers) as answer:
        theirs = shaped(await answer.json())
        assert answer.status == 404
    async with gateway.post(headers=headers, body={"model": "nothing", "messages": []}) as answer:
        assert answer.status in {400, 404}
    async with gateway.http.get(gateway.url + "/v1/models", headers=headers) as answer:
        assert (await answer.json())["data"] == []
    assert "acme" not in theirs["message"] and key.digest not in theirs["message"]
