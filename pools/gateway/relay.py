"""Forwards an admitted request to an endpoint and the answer back, and settles before the client sees the last byte,
so that its next request finds the room this one leaves.
"""

from __future__ import annotations

import asyncio

import orjson

from pools.choices import Outcome, ServiceClass
from pools.gateway.exchange import Exchange, UpstreamError
from pools.gateway.live import LiveRequest
from pools.gateway.metrics import Meters
from pools.gateway.parse import Kind
from pools.gateway.routes import Endpoint
from pools.gateway.settling import Settler
from pools.gateway.sse import StreamMeter
from pools.gateway.upstream import UpstreamClient
from pools.gateway.wire import JSON, Headers, Send, bad_request, error_event, send_bytes, unavailable
from portal.lib.errors import DomainError

MAX_ATTEMPTS = 3
MAX_ANSWER_BYTES = 64 * 1024 * 1024
BENCH_SECONDS = 2.0
PREEMPTED_RETRY_MS = 2_000
_CLIENT_FAULTS = frozenset({400, 413, 422})


class Relay:
    """``run`` serves one admitted request to its end; the answer may be an error, the settlement always happens."""

    def __init__(self, upstream: UpstreamClient, settler: Settler, meters: Meters) -> None:
        self._upstream = upstream
        self._settler = settler
        self._meters = meters

    async def run(self, live: LiveRequest, body: bytes, headers: Headers, send: Send) -> int:
        """Returns the HTTP status sent. Raises DomainError where nothing was sent yet and an error is due."""
        try:
            return await self._attempts(live, body, headers, send)
        finally:
            if not live.settled:
                await self._settle(live, live.ending or Outcome.UPSTREAM_ERROR)

    async def _attempts(self, live: LiveRequest, body: bytes, headers: Headers, send: Send) -> int:
        tried: list[int] = []
        loop = asyncio.get_running_loop()
        kv_bytes = live.size.cost.kv_bytes
        while True:
            endpoint = live.route.pick(loop.time(), kv_bytes, tried)
            if endpoint is None:
                if tried:
                    raise unavailable(
                        "No replica of the model could serve the request; try again.", code="upstream_unavailable"
                    )
                raise unavailable("The pool has no ready replica at the moment.", code="no_capacity")
            tried.append(endpoint.id)
            live.endpoint_id = endpoint.id
            endpoint.take(kv_bytes)
            try:
                return await self._attempt(live, endpoint, body, headers, send)
            except _NextEndpoint as failed:
                self._meters.count(self._meters.upstream_errors, live.route.pool, failed.kind)
                if failed.bench:
                    endpoint.benched_until = loop.time() + BENCH_SECONDS
                if len(tried) >= MAX_ATTEMPTS:
                    raise unavailable(
                        "The model's replicas do not answer; try again.", code="upstream_error", status=502
                    ) from None
            finally:
                endpoint.give_back(kv_bytes)

    async def _attempt(self, live: LiveRequest, endpoint: Endpoint, body: bytes, headers: Headers, send: Send) -> int:
        """One endpoint. Raises _NextEndpoint while nothing of its answer's body was seen."""
        try:
            exchange = await self._begin(live, endpoint, body)
        except UpstreamError as error:
            raise self._failed(live, error, retry=error.kind in {"connect", "closed", "protocol"}) from None
        first = b""
        try:
            if exchange.status >= 500 or exchange.status == 429:
                raise _NextEndpoint(f"status_{exchange.status}", bench=exchange.status == 503)
            first = await exchange.piece()
            if not first:
                raise _NextEndpoint("empty")
            if exchange.status != 200:
                raise await self._rejected(live, exchange, first)
            live.first_token_at = asyncio.get_running_loop().time()
            if live.request.stream and b"event-stream" in exchange.header(b"content-type"):
                return await self._stream(live, exchange, first, headers, send)
            return await self._whole(live, exchange, first, headers, send)
        except UpstreamError as error:
            raise self._failed(live, error, retry=not first and error.kind in {"closed", "protocol"}) from None
        finally:
            live.exchange = None
            self._upstream.give_back(endpoint.url, exchange)

    async def _begin(self, live: LiveRequest, endpoint: Endpoint, body: bytes) -> Exchange:
        """Sends the request; can be cut while it waits, which ``LiveRequest.cut`` needs the task for."""
        live.forwarded = True
        return await self._upstream.post(
            endpoint.url, live.request.kind.value, body, live.request_id, watch=live.attach
        )

    def _failed(self, live: LiveRequest, error: UpstreamError, *, retry: bool) -> Exception:
        """The exception an endpoint's failure becomes before the client has seen anything."""
        if live.ending is not None:
            return cut_error(live)
        if retry:
            return _NextEndpoint(error.kind, bench=True)
        self._meters.count(self._meters.upstream_errors, live.route.pool, error.kind)
        if error.kind == "timeout":
            live.ending = Outcome.TIMEOUT
            return unavailable("The model did not answer in time; try again.", code="upstream_timeout", status=504)
        return unavailable("The model's replica broke off its answer; try again.", code="upstream_error", status=502)

    async def _rejected(self, live: LiveRequest, exchange: Exchange, first: bytes) -> Exception:
        """An endpoint's 4xx: the client's fault is passed on in our shape, anything else is the operator's."""
        text = first + await exchange.read(65_536) if not exchange.complete else first
        message, code, param = _upstream_error(text)
        live.ending = Outcome.RELEASED
        if exchange.status in _CLIENT_FAULTS:
            return bad_request(message, code=code, status=exchange.status, param=param)
        self._meters.count(self._meters.upstream_errors, live.route.pool, f"status_{exchange.status}")
        return unavailable(
            f"The model's replica refused the gateway (HTTP {exchange.status}); tell the operator.",
            code="upstream_error",
            status=502,
            retry_after_ms=5000,
        )

    async def _whole(self, live: LiveRequest, exchange: Exchange, first: bytes, headers: Headers, send: Send) -> int:
        data = first if exchange.complete else first + await exchange.read(MAX_ANSWER_BYTES)
        try:
            usage = orjson.loads(data).get("usage")
            live.usage = usage if isinstance(usage, dict) else None
        except (orjson.JSONDecodeError, AttributeError):
            raise _NextEndpoint("not_json") from None
        await self._settle(live, Outcome.COMPLETED)
        await send_bytes(send, 200, data, [JSON, *headers])
        return 200

    async def _stream(self, live: LiveRequest, exchange: Exchange, piece: bytes, headers: Headers, send: Send) -> int:
        """Passes events on as they come. Once it has begun, every failure is an error event inside the stream."""
        meter = StreamMeter(strip_usage=not live.request.wants_usage)
        choices, chat = live.request.choices, live.request.kind is Kind.CHAT
        loop_time = asyncio.get_running_loop().time
        start = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"), *headers]
        outcome, last = Outcome.COMPLETED, b""
        try:
            live.sending_since = loop_time()
            await send({"type": "http.response.start", "status": 200, "headers": start})
            while piece:
                out = meter.feed(piece)
                live.streamed_tokens = meter.counted_tokens(choices, chat=chat)
                live.usage = meter.usage
                if meter.done or meter.failed:
                    last = out
                    break
                if out:
                    live.sending_since = loop_time()
                    await send({"type": "http.response.body", "body": out, "more_body": True})
                live.sending_since = 0.0
                piece = await exchange.piece()
            else:
                last = meter.flush()
            outcome = Outcome.UPSTREAM_ERROR if meter.failed else Outcome.COMPLETED
        except (UpstreamError, ValueError, asyncio.CancelledError) as error:
            outcome, last = self._broken(live, error)
        live.sending_since = 0.0
        await self._settle(live, outcome)
        await send({"type": "http.response.body", "body": last, "more_body": False})
        return 200

    def _broken(self, live: LiveRequest, error: BaseException) -> tuple[Outcome, bytes]:
        """How a stream that broke is accounted, and the last event its client sees."""
        if live.ending is not None:
            if isinstance(error, asyncio.CancelledError) and live.task is not None:
                live.task.uncancel()
            return live.ending, error_event(cut_error(live))
        if isinstance(error, asyncio.CancelledError):
            raise error
        kind = error.kind if isinstance(error, UpstreamError) else "protocol"
        self._meters.count(self._meters.upstream_errors, live.route.pool, kind)
        told = unavailable("The model's replica broke off its answer; try again.", code="upstream_error", status=502)
        return Outcome.TIMEOUT if kind == "timeout" else Outcome.UPSTREAM_ERROR, error_event(told)

    async def _settle(self, live: LiveRequest, outcome: Outcome) -> None:
        live.settled = True
        now = asyncio.get_running_loop().time()
        settlement = live.settlement(outcome, now)
        names = (live.route.pool, str(live.grant.service_class))
        meters = self._meters.of(*names)
        meters.duration.observe(now - live.started)
        if live.first_token_at:
            meters.first_token.observe(live.first_token_at - live.started)
        meters.input_tokens.inc(settlement.input_tokens)
        meters.output_tokens.inc(settlement.output_tokens)
        self._meters.count(self._meters.outcomes, *names, str(outcome))
        await self._settler.settle(settlement)


class _NextEndpoint(Exception):  # noqa: N818  (a step of the control flow, not an error)
    """``bench``: the endpoint itself is at fault, so others are preferred for a while; a 500 may be the request's."""

    def __init__(self, kind: str, *, bench: bool = False) -> None:
        super().__init__(kind)
        self.kind = kind
        self.bench = bench


def cut_error(live: LiveRequest) -> DomainError:
    """What the client of a request that was ended from outside is told."""
    if live.ending is Outcome.PREEMPTED and live.grant.service_class is not ServiceClass.PREEMPTIBLE:
        sentence = "An operator suspended or offboarded this tenant and ended the request."  # nobody else evicts these
        return DomainError("tenant_suspended", sentence, status=403)
    if live.ending is Outcome.PREEMPTED:
        return unavailable(
            "The request ran on idle capacity that its owner needs now (preemptible class); try again later.",
            code="preempted",
            retry_after_ms=max(PREEMPTED_RETRY_MS, live.route.mean_service_ms // 2),
        )
    return unavailable("The gateway is restarting; try again.", code="gateway_draining")


def _upstream_error(text: bytes) -> tuple[str, str, str | None]:
    """(message, code, param) of an endpoint's error body, whatever it looks like."""
    try:
        document = orjson.loads(text)
        error = document.get("error", document)
        message, code, param = str(error.get("message") or "rejected"), error.get("code"), error.get("param")
    except (orjson.JSONDecodeError, AttributeError):
        return "The model rejected the request.", "upstream_rejected", None
    known = code if isinstance(code, str) and len(code) <= 64 else "upstream_rejected"
    if "context length" in message:
        known = "context_length_exceeded"
    return message[:500], known, param if isinstance(param, str) else None
