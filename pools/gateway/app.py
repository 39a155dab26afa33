"""The ASGI application: paths, start and stop, and the only place where an error becomes an answer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import orjson

from pools.counters.client import CounterClient
from pools.counters.types import CounterUnavailable
from pools.gateway.body import ClientGoneError
from pools.gateway.config import GatewayConfig
from pools.gateway.gateway import Gateway, granted, new_request_id
from pools.gateway.keys import KeyDocument
from pools.gateway.parse import Kind
from pools.gateway.wire import Receive, Scope, Send, bad_request, send_bytes, send_error, send_json
from portal import __version__
from portal.lib.clock import now_ms
from portal.lib.errors import DomainError
from portal.lib.pulse import GATEWAY_EVERY_S, GATEWAYS_KEY

CONNECT_RETRY_SECONDS = 0.5
SETTLE_AT_EXIT_SECONDS = 3.0
_KINDS = {kind.value: kind for kind in Kind}
_MODELS = "/v1/models"

log = logging.getLogger(__name__)


class App:
    """Raw ASGI, no framework: a request costs one coroutine."""

    def __init__(
        self, config: GatewayConfig, make_counters: Callable[[GatewayConfig], CounterClient] | None = None
    ) -> None:
        self.config = config
        self._make_counters = make_counters or (lambda config: CounterClient(config.redis_url))
        self.gateway: Gateway | None = None
        self._counters: CounterClient | None = None
        self._background: list[asyncio.Task[None]] = []
        self._watched: set[int] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    # -- requests ----------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        headers = [(b"x-request-id", request_id.encode())]
        try:
            assert self.gateway is not None
            kind = _KINDS.get(scope["path"])
            if kind is None:
                await self._other(self.gateway, scope, send)
            elif scope["method"] != "POST":
                raise bad_request("Use POST here.", code="method_not_allowed", status=405)
            else:
                await self.gateway.infer(kind, scope, receive, send, request_id)
        except DomainError as error:
            await send_error(send, error, headers)
        except ClientGoneError:
            return
        except Exception:
            log.exception("request %s failed", request_id)
            with contextlib.suppress(RuntimeError):  # an answer that had begun cannot be begun again
                await send_error(send, DomainError("internal_error", "The gateway failed.", status=500), headers)

    async def _other(self, gateway: Gateway, scope: Scope, send: Send) -> None:
        path: str = scope["path"]
        if scope["method"] not in {"GET", "HEAD"}:
            raise bad_request(f"There is no {scope['method']} {path[:200]} here.", code="not_found", status=404)
        if path == "/livez":
            await send_json(send, 200, {"alive": True})
        elif path == "/readyz":
            await self._ready(gateway, send)
        elif path == "/metrics":
            gateway.meters.unsettled.set(len(gateway.settler.waiting))
            kind, page = gateway.meters.page()
            await send_bytes(send, 200, page, [(b"content-type", kind)])
        elif path == _MODELS:
            key = await gateway.authenticate(scope)
            await send_json(send, 200, {"object": "list", "data": [_model(key, name) for name in key.grants]})
        elif path.startswith(_MODELS + "/"):
            key = await gateway.authenticate(scope)
            name = granted(key, path.removeprefix(_MODELS + "/")).model
            await send_json(send, 200, _model(key, name))
        else:
            raise bad_request(f"There is no {path[:200]} here.", code="not_found", status=404)

    async def _ready(self, gateway: Gateway, send: Send) -> None:
        state = {
            "store_reachable": gateway.routes.reachable,
            "routes_loaded": gateway.routes.loaded,
            "draining": gateway.draining,
        }
        ready = gateway.routes.reachable and gateway.routes.loaded and not gateway.draining
        await send_json(send, 200 if ready else 503, {"ready": ready, **state})

    # -- start and stop ----------------------------------------------------------------------------------------

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except DomainError as error:
            await send({"type": "lifespan.startup.failed", "message": error.sentence})
            return
        gc.collect()
        gc.freeze()  # what lives as long as the process is not looked through again while requests wait
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        """Connects and begins the background work. A store that is away is waited for in the background; one that
        holds an incompatible library stops the start with a DomainError."""
        self._counters = self._make_counters(self.config)
        self.gateway = gateway = Gateway(self.config, self._counters)
        connected = await self._connect(self._counters)
        self._counters.on_revoked(gateway.keys.revoke)
        if connected:
            await gateway.routes.refresh()
            self._watch_pools(gateway, self._counters)
        self._background = [
            asyncio.create_task(work)
            for work in (
                self._keep_routes(gateway, self._counters, connected=connected),
                gateway.live.run(),
                gateway.settler.run(),
                self._keep_pulse(gateway, self._counters),
            )
        ]
        self._catch_sigterm(gateway)

    async def stop(self) -> None:
        """Settles what is left and closes everything."""
        assert self.gateway is not None and self._counters is not None
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.gateway.settler.drain(SETTLE_AT_EXIT_SECONDS)
        self.gateway.upstream.close()
        await self._counters.close()

    async def _connect(self, counters: CounterClient) -> bool:
        try:
            await counters.start()
        except CounterUnavailable as error:
            log.warning("the counter store is not there yet (%s); trying again", error)
            return False
        return True

    async def _keep_routes(self, gateway: Gateway, counters: CounterClient, *, connected: bool) -> None:
        while not connected:
            await asyncio.sleep(CONNECT_RETRY_SECONDS)
            connected = await self._connect(counters)
            if connected:
                await gateway.routes.refresh()
        while True:
            self._watch_pools(gateway, counters)
            gateway.upstream.forget_others(gateway.routes.urls())
            await asyncio.sleep(gateway.routes.refresh_s)
            await gateway.routes.refresh()

    async def _keep_pulse(self, gateway: Gateway, counters: CounterClient) -> None:
        """Says now and then that this process serves; the control plane's System page lists who did."""
        name, began_ms = f"{socket.gethostname()}:{self.config.port}:{os.getpid()}", now_ms()
        while True:
            told = {
                "at": now_ms(),
                "version": __version__,
                "began": began_ms,
                "requests": len(gateway.live),
                "draining": gateway.draining,
                "ready": gateway.routes.reachable and gateway.routes.loaded,
            }
            with contextlib.suppress(CounterUnavailable):
                await counters.note(GATEWAYS_KEY, name, orjson.dumps(told).decode())
            await asyncio.sleep(GATEWAY_EVERY_S)

    def _watch_pools(self, gateway: Gateway, counters: CounterClient) -> None:
        """Listens to the evictions and releases of pools seen for the first time."""
        for pool_id in set(gateway.routes.pools()) - self._watched:
            self._watched.add(pool_id)
            counters.on_eviction(pool_id, gateway.live.evict)
            counters.on_release(pool_id, functools.partial(gateway.holds.released, pool_id))

    def _catch_sigterm(self, gateway: Gateway) -> None:
        """Lets the gateway know of SIGTERM and SIGINT before the server acts on them, ``drain_delay_s`` earlier."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            server_handler: Any = signal.getsignal(number)
            if not callable(server_handler):
                continue

            def handle(number: int, frame: Any, act: Callable[[int, Any], Any] = server_handler) -> None:
                if gateway.draining:
                    act(number, frame)
                    return
                loop.call_soon_threadsafe(gateway.begin_drain)
                loop.call_soon_threadsafe(loop.call_later, self.config.drain_delay_s, act, number, None)

            with contextlib.suppress(ValueError):  # not the main thread: whoever runs us handles signals
                signal.signal(number, handle)


def _model(key: KeyDocument, name: str) -> dict[str, Any]:
    grant = key.grants[name]
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "token-pools",
        "service_class": grant.service_class,
    }
