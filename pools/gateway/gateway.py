"""The parts of one gateway process, and the steps of one request through them."""

from __future__ import annotations

import asyncio
import hashlib
import secrets

import orjson

from pools.choices import Outcome
from pools.counters.types import Ask
from pools.gateway.admission import Admission, Admitted
from pools.gateway.body import read_body
from pools.gateway.config import GatewayConfig
from pools.gateway.estimate import measure, tokenize_body, upstream_body
from pools.gateway.exchange import UpstreamError
from pools.gateway.hold import Holds
from pools.gateway.keys import Grant, KeyDocument, Keys
from pools.gateway.live import Live, LiveRequest
from pools.gateway.metrics import Meters
from pools.gateway.parse import InferenceRequest, Kind, parse
from pools.gateway.ports import Counters
from pools.gateway.relay import Relay, cut_error
from pools.gateway.routes import Route, Routes
from pools.gateway.settling import Settler
from pools.gateway.upstream import UpstreamClient
from pools.gateway.wire import Headers, Receive, Scope, Send, bad_request, limit_headers, unavailable
from portal.lib import clock
from portal.lib.errors import DomainError


class Gateway:
    """Everything one process holds. ``counters`` is a CounterClient that has been started, or is being."""

    def __init__(self, config: GatewayConfig, counters: Counters) -> None:
        self.config = config
        self.counters = counters
        self.meters = Meters()
        self.settler = Settler(counters)
        self.holds = Holds(counters, self.settler)
        self.admission = Admission(counters, self.settler, self.holds)
        self.live = Live(counters)
        self.routes = Routes(counters.get_document)
        self.keys = Keys(counters.get_document, config.secret_key)
        self.upstream = UpstreamClient(config.timeouts)
        self.relay = Relay(self.upstream, self.settler, self.meters)
        self.draining = False

    def begin_drain(self) -> None:
        """Takes no new request; ends what still runs when the drain's time is up."""
        self.draining = True
        asyncio.get_running_loop().call_later(self.config.drain_s, self.live.cut_all, Outcome.TIMEOUT)

    async def authenticate(self, scope: Scope) -> KeyDocument:
        """The document of the request's key. Raises DomainError 401 or 503."""
        return await self.keys.look_up(scope, clock.now_ms() / 1000)

    async def infer(self, kind: Kind, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """One inference request, from its headers to its settlement. Raises DomainError where an error is due."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        names: tuple[str, str] = ("", "")
        status = 500
        try:
            if self.draining:
                raise unavailable("The gateway is restarting; try again.", code="gateway_draining")
            key = await self.authenticate(scope)
            raw = await read_body(
                receive,
                header(scope, b"content-length"),
                self.config.body_limit_bytes,
                self.config.body_timeout_s,
            )
            request = parse(kind, raw)
            grant = granted(key, request.model)
            route = self.routes.get(grant.pool_id)
            if route is None:
                raise unavailable("The pool of this model is not being served yet.", code="no_capacity")
            names = (route.pool, str(grant.service_class))
            size = measure(request, grant, route, await self._tokens(request, route) if route.tokenize else None)
            live = LiveRequest(request_id, key.key_id, grant, route, request, size, started)
            admitted = await self._admit(live, scope)
            with self.live.track(live):
                status = await self._serve(live, admitted, receive, send)
        except DomainError as error:
            status = error.status
            if error.details.get("binding"):
                self.meters.count(self.meters.refusals, *names, error.code)
            raise
        finally:
            self.meters.count(self.meters.requests, *names, str(status))

    async def _admit(self, live: LiveRequest, scope: Scope) -> Admitted:
        grant, cost = live.grant, live.size.cost
        ask = Ask(
            pool_id=grant.pool_id,
            entitlement_id=grant.entitlement_id,
            request_id=live.request_id,
            tokens=cost.tokens,
            kv_bytes=cost.kv_bytes,
            concurrency=cost.concurrency,
            lease_ms=live.route.lease_ms,
            hold_ms=grant.hold_ms,
            key_id=live.key_id,
            offer_id=offer_id(scope, grant),
        )
        meters = self.meters.of(live.route.pool, str(grant.service_class))
        loop = asyncio.get_running_loop()
        asked = loop.time()
        admitted = await self.admission.admit(ask, grant, live.route)
        meters.admission.observe(loop.time() - asked - admitted.held_ms / 1000)
        if admitted.held_ms:
            meters.held.inc(admitted.held_ms / 1000)
        if admitted.decision is None:
            live.reserved = False
            self.meters.count(self.meters.degraded, live.route.pool, str(grant.service_class), "store_unavailable")
        return admitted

    async def _serve(self, live: LiveRequest, admitted: Admitted, receive: Receive, send: Send) -> int:
        headers: Headers = [(b"x-request-id", live.request_id.encode())]
        if admitted.limits is not None:
            headers.extend(limit_headers(admitted.limits))
        else:
            headers.append((b"x-token-pools-admission", b"degraded"))
        in_flight = self.meters.of(live.route.pool, str(live.grant.service_class)).in_flight
        watcher = asyncio.ensure_future(_watch(receive, live))
        in_flight.inc()
        try:
            return await self.relay.run(live, upstream_body(live.request, live.route, live.size), headers, send)
        except asyncio.CancelledError:
            if live.ending is None or live.task is None:
                raise
            live.task.uncancel()
            raise cut_error(live) from None
        finally:
            in_flight.dec()
            watcher.cancel()

    async def _tokens(self, request: InferenceRequest, route: Route) -> int | None:
        """The endpoint's own count of the prompt; None where it cannot tell, and the estimate is used."""
        question = tokenize_body(request, route)
        endpoint = route.pick(asyncio.get_running_loop().time(), 0)
        if question is None or endpoint is None:
            return None
        try:
            exchange = await self.upstream.post(endpoint.url, "/tokenize", question, "tokenize")
            try:
                count = orjson.loads(await exchange.read(4 * 1024 * 1024)).get("count")
            finally:
                self.upstream.give_back(endpoint.url, exchange)
        except (UpstreamError, orjson.JSONDecodeError, AttributeError):
            return None
        return count if type(count) is int and count >= 0 else None


async def _watch(receive: Receive, live: LiveRequest) -> None:
    """Ends the request when its client hangs up."""
    while (await receive())["type"] != "http.disconnect":
        pass
    live.cut(Outcome.CLIENT_GONE)


def header(scope: Scope, wanted: bytes) -> bytes:
    """The first value of a request header (lower-case name), or b""."""
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""


def granted(key: KeyDocument, model: str) -> Grant:
    """What the key may do with a model. Raises DomainError 404, the same for models of others as for none."""
    grant = key.grants.get(model)
    if grant is None:
        shown = model if len(model) <= 100 else f"{model[:100]}…"
        raise bad_request(
            f"The model {shown!r} does not exist or this key may not use it; see /v1/models.",
            param="model",
            code="model_not_found",
            status=404,
        )
    return grant


def offer_id(scope: Scope, grant: Grant) -> str:
    """A name for what the client wants done, the same in its retries: demand then counts it once.

    Every attempt still has its own reservation, and one tenant's Idempotency-Key never meets another's.
    """
    given = header(scope, b"idempotency-key")
    if not given:
        return ""
    return hashlib.blake2b(b"%d:%b" % (grant.entitlement_id, given), digest_size=16).hexdigest()


def new_request_id() -> str:
    """The id of one attempt; never taken from the client, so nobody can collide with it on purpose."""
    return f"req-{secrets.token_hex(12)}"
