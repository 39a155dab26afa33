"""Every path of the gateway × every method × everybody who may not: nobody gets in without a good key."""

from __future__ import annotations

import ast
import inspect
import time

import pytest

from pools.counters import keys as names
from pools.gateway import app
from pools.gateway.parse import Kind
from portal.lib.secrets import MANAGEMENT_PREFIX, key_digest, new_key
from tests.gateway.conftest import Running
from tests.gateway.endpoint import Endpoint
from tests.gateway.world import SECRET, World

OPEN = {"/livez", "/readyz", "/metrics"}
"""For whoever reaches the port: they say nothing of a tenant or a key."""
KEYED = {kind.value for kind in Kind} | {"/v1/models"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
BODY = {"model": "chat", "messages": [{"role": "user", "content": "x"}], "prompt": "x", "input": "x", "max_tokens": 1}
NO = {401, 403, 404, 405}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def kept(world: World, plaintext: str, **changes: object) -> str:
    """A key with a document of its own, which grants the model unless it says otherwise."""
    grant = {
        "pool_id": 1, "entitlement_id": 1, "service_class": "elastic", "tier": "gold", "default_max_tokens": 64,
        "largest_max_tokens": 4096, "hold_ms": 0, "fail_mode": "open",
    }  # fmt: skip
    document = {
        "v": 1, "key_id": 9, "tenant_id": 2, "tenant": "other", "kind": "gateway", "expires_at": None,
        "models": {"chat": grant}, **changes,
    }  # fmt: skip
    world.put(names.key_document(key_digest(plaintext, SECRET)), document)
    return plaintext


def strangers(world: World) -> dict[str, dict[str, str]]:
    """Who may not, and what they send."""
    revoked = world.entitle()
    world.revoke(revoked)
    return {
        "nobody": {},
        "another scheme": {"authorization": "Basic dG9rZW46cG9vbHM="},
        "a cookie": {"cookie": "sessionid=0123456789abcdef"},
        "an unknown key": bearer(new_key()),
        "a revoked key": revoked.headers,
        "an expired key": bearer(kept(world, new_key(), expires_at=time.time() - 1)),
        "a management key": bearer(kept(world, new_key(MANAGEMENT_PREFIX), kind="management")),
        "a key of the wrong kind": bearer(kept(world, new_key(), kind="management")),
        "a suspended tenant": bearer(kept(world, new_key(), suspended=True)),
        "a key in the wrong header": {"x-api-key": world.entitle().plaintext},
    }


def test_every_path_of_the_application_is_walked() -> None:
    tree = ast.parse(inspect.getsource(app))
    said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    paths = {text for text in said if text.startswith("/") and len(text) > 1}
    assert paths == OPEN | {"/v1/models"}, "say in this test who may use a new path"


@pytest.mark.parametrize("path", sorted({*KEYED, "/v1/models/chat", "/v1/nothing", "/"}))
async def test_nobody_gets_in_without_a_good_key(path: str, gateway: Running, world: World, endpoint: Endpoint) -> None:
    for who, headers in strangers(world).items():
        for method in METHODS:
            async with gateway.http.request(method, gateway.url + path, headers=headers, json=BODY) as answer:
                text = await answer.text()
                assert answer.status in NO, (who, method, path, answer.status)
                assert who == "a suspended tenant" or ("acme" not in text and "tenant other" not in text)
            inferring = method == "POST" and path in KEYED - {"/v1/models"}
            reading = method in {"GET", "HEAD"} and path in {"/v1/models", "/v1/models/chat"}
            if inferring or reading:
                assert answer.status == (403 if who == "a suspended tenant" else 401), (who, method, path)
    assert world.untouched() and endpoint.seen == []


async def test_a_good_key_of_another_model_gets_nothing_of_this_one(
    gateway: Running, world: World, endpoint: Endpoint
) -> None:
    headers = bearer(kept(world, new_key(), models={}))
    for path in sorted({kind.value for kind in Kind}):
        async with gateway.http.post(gateway.url + path, headers=headers, json=BODY) as answer:
            assert answer.status == 404, path
    async with gateway.http.get(gateway.url + "/v1/models/chat", headers=headers) as answer:
        assert answer.status == 404
    assert world.untouched() and endpoint.seen == []


async def test_what_is_open_says_nothing_of_tenants_and_keys(gateway: Running, world: World) -> None:
    key = world.entitle()
    async with gateway.post(key) as answer:
        assert answer.status == 200
    for path in sorted(OPEN):
        async with gateway.get(path) as answer:
            text = await answer.text()
            assert answer.status == 200
            assert not any(word in text for word in ("acme", key.plaintext, key.digest, key.plaintext[:14]))
        async with gateway.http.post(gateway.url + path) as answer:
            assert answer.status == 404
