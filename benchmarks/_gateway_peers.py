"""What the gateway is compared with: ``python -m benchmarks._gateway_peers free|aiohttp PORT UPSTREAM``.

``free``: the gateway itself, admitted by a function that always says yes. ``aiohttp``: the shortest streaming proxy one
would write with aiohttp on both sides.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import orjson
import uvicorn
import uvloop
from aiohttp import web

from pools.counters import keys as names
from pools.counters.types import Ask, Decision, Heartbeat, HeartbeatReply, Settled, Settlement
from pools.gateway.app import App
from pools.gateway.config import GatewayConfig
from pools.gateway.server import server_config
from portal.lib.secrets import key_digest

KEY = "tp_live_benchmark"
SECRET = "benchmark only"
POOL, ENTITLEMENT = 1, 1


def documents(upstream: str) -> dict[str, bytes]:
    """What the control plane would have published: one pool with one endpoint, one key."""
    grant = {
        "pool_id": POOL,
        "entitlement_id": ENTITLEMENT,
        "service_class": "elastic",
        "tier": "gold",
        "default_max_tokens": 256,
        "largest_max_tokens": 4096,
        "hold_ms": 0,
        "fail_mode": "closed",
    }
    key = {"v": 1, "key_id": 1, "tenant_id": 1, "tenant": "bench", "kind": "gateway", "expires_at": None}
    endpoint = {"id": 1, "url": upstream, "state": "ready", "slots": 1024, "kv_bytes": 1 << 40, "running": 0}
    route = {
        "v": 1,
        "pool_id": POOL,
        "pool": "fixed",
        "model": "fixed",
        "upstream_model": "fixed",
        "context_length": 8192,
        "block_tokens": 16,
        "kv_bytes_per_token": 131072,
        "weight_input": 1,
        "weight_output": 1,
        "bytes_per_token": 3.6,
        "lease_ms": 60000,
        "capacity_version": 1,
        "mean_service_ms": 100,
        "tokenize": False,
        "endpoints": [{**endpoint, "waiting": 0, "kv_usage": 0.0, "fresh": True}],
    }
    return {
        names.POOLS_KEY: orjson.dumps([POOL]),
        names.route_document(POOL): orjson.dumps(route),
        names.key_document(key_digest(KEY, SECRET)): orjson.dumps({**key, "models": {"fixed": grant}}),
    }


class FreePass:
    """A counter store that admits everything and remembers nothing."""

    def __init__(self, upstream: str) -> None:
        self._documents = documents(upstream)
        self._yes = Decision(True, *(0,) * 11, 1_000_000, 1_000_000, 1_000_000, 1, 1024, 0, 1)  # type: ignore[arg-type]
        self._done = Settled(1, 0, 0, 0, 0, 0)

    async def reserve(self, ask: Ask) -> Decision:
        return self._yes

    async def settle(self, settlement: Settlement) -> Settled:
        return self._done

    async def heartbeat(self, beat: Heartbeat) -> HeartbeatReply:
        return HeartbeatReply(True, False, 0)

    async def get_document(self, key: str) -> bytes | None:
        return self._documents.get(key)

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def on_revoked(self, *_: Any) -> None: ...

    on_eviction = on_release = on_revoked


def free(port: int, upstream: str) -> None:
    """The gateway without admission."""
    config = GatewayConfig(redis_url="", secret_key=SECRET, port=port, log_level="WARNING")
    app = App(config, make_counters=lambda _: FreePass(upstream))  # type: ignore[arg-type,return-value]
    uvicorn.Server(server_config(app, config)).run()


async def _proxy(port: int, upstream: str) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as session:

        async def forward(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            async with session.post(upstream + request.path, data=body) as answer:
                response = web.StreamResponse(status=answer.status)
                response.content_type = answer.content_type
                if answer.content_length is not None:
                    response.content_length = answer.content_length
                await response.prepare(request)
                async for data, _ in answer.content.iter_chunks():
                    await response.write(data)
                await response.write_eof()
                return response

        app = web.Application()
        app.router.add_post("/v1/chat/completions", forward)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    which, port_text, address = sys.argv[1:4]
    if which == "free":
        free(int(port_text), address)
    else:
        uvloop.run(_proxy(int(port_text), address))
