"""A thin pooled HTTP/1.1 client to inference endpoints: about a third of the CPU of a general one.

Only what the data plane needs: POST, keep-alive pool per origin (newest first), time-outs for connecting, the first
byte and idleness. Following redirects, cookies, proxies and decompression are left out on purpose.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from pools.gateway.exchange import Exchange, UpstreamError, new_exchange

IDLE_PER_ORIGIN = 256
IDLE_SECONDS = 4.0  # below the 5 s after which common ASGI servers close an idle connection


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to the first byte of the answer, between two bytes of it."""

    connect_s: float = 2.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0


@dataclass(slots=True)
class Origin:
    """Where an endpoint listens; ``prefix`` is the path its URL carries; ``idle`` are its spare connections."""

    host: str
    port: int
    tls: bool
    prefix: str
    idle: deque[Exchange]
    host_header: bytes

    @staticmethod
    def of(url: str) -> Origin:
        """Parses an endpoint's URL. Raises ValueError when it is not http or https."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"an endpoint's URL must begin with http:// or https://, not {url!r}")
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        host_header = parts.netloc.rpartition("@")[2].encode()
        return Origin(parts.hostname, port, tls, parts.path.rstrip("/"), deque(), host_header)


class UpstreamClient:
    """Opens exchanges; keeps spare connections."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self._origins: dict[str, Origin] = {}

    async def post(
        self, url: str, path: str, body: bytes, request_id: str, watch: Callable[[Exchange], None] | None = None
    ) -> Exchange:
        """POSTs JSON and returns the exchange once the head of the answer is there. Raises UpstreamError.

        ``watch`` is given each connection before it is written to, so that another task can cut it meanwhile.

        A spare connection that turns out to be closed is replaced by a fresh one without telling the caller.
        """
        origin = self._origin(url)
        request = (
            b"POST %b%b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n"
            b"x-request-id: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (origin.prefix.encode(), path.encode(), origin.host_header, request_id.encode(), len(body), body)
        )
        exchange = self._spare(origin)
        if exchange is not None:
            try:
                return await self._begin(exchange, request, watch)
            except UpstreamError as failure:
                if failure.kind != "closed" or failure.started:
                    raise
        return await self._begin(await self._connect(origin), request, watch)

    def give_back(self, url: str, exchange: Exchange) -> None:
        """Ends the caller's use: a clean connection becomes spare, any other is closed."""
        exchange.finish()
        origin = self._origins.get(url)
        if origin is None or not exchange.usable or len(origin.idle) >= IDLE_PER_ORIGIN:
            exchange.abort()
            return
        exchange.idle_since = asyncio.get_running_loop().time()
        origin.idle.append(exchange)

    def forget(self, url: str) -> None:
        """Closes the spare connections of an endpoint that is gone."""
        origin = self._origins.pop(url, None)
        while origin is not None and origin.idle:
            origin.idle.pop().abort()

    def forget_others(self, urls: set[str]) -> None:
        """Keeps spare connections only to these endpoints."""
        for url in [url for url in self._origins if url not in urls]:
            self.forget(url)

    def close(self) -> None:
        """Closes every spare connection."""
        self.forget_others(set())

    def _origin(self, url: str) -> Origin:
        origin = self._origins.get(url)
        if origin is None:
            try:
                origin = self._origins[url] = Origin.of(url)
            except ValueError as error:
                raise UpstreamError("connect", str(error)) from error
        return origin

    def _spare(self, origin: Origin) -> Exchange | None:
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
        while origin.idle:
            exchange = origin.idle.pop()
            if exchange.usable and exchange.idle_since > oldest:
                return exchange
            exchange.abort()
        return None

    async def _begin(self, exchange: Exchange, request: bytes, watch: Callable[[Exchange], None] | None) -> Exchange:
        try:
            if watch is not None:
                watch(exchange)
            await exchange.begin(request, self.timeouts.first_byte_s, self.timeouts.idle_s)
        except BaseException:
            exchange.abort()
            raise
        return exchange

    async def _connect(self, origin: Origin) -> Exchange:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.timeouts.connect_s):
                _, exchange = await loop.create_connection(
                    new_exchange(loop), origin.host, origin.port, ssl=True if origin.tls else None
                )
        except (OSError, TimeoutError) as error:
            raise UpstreamError("connect", f"cannot connect to the endpoint: {error or 'timed out'}") from error
        assert isinstance(exchange, Exchange)
        return exchange
