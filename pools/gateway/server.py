"""Runs the application on uvicorn, with a protocol that does not trust its clients before the application is reached.

uvicorn alone waits for ever for the end of a request's headers and keeps them without a limit.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from typing import Any

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pools.gateway.app import App
from pools.gateway.config import GatewayConfig
from pools.gateway.cork import CorkedTransport
from pools.gateway.wire import bad_request, error_document

MAX_HEADER_BYTES = 32_768
MAX_DISCARDED_BYTES = 64 * 1024 * 1024  # of a body nobody wants, read so that its sender sees the refusal
_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a time-out and a size limit for the head of a request, and OpenAI-shaped refusals.

    The 408 tells official clients not to repeat the request, which they otherwise would.
    """

    header_timeout_s = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._discarded = 0
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(CorkedTransport(transport, self.loop))  # type: ignore[arg-type]
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._arm()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._disarm()  # from here the keep-alive time-out watches

    def on_message_begin(self) -> None:
        self._head_bytes = self._discarded = 0
        super().on_message_begin()
        if self._head_timer is None:
            self._arm()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._disarm()
        if not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > MAX_DISCARDED_BYTES:
                self.transport.abort()
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "invalid_http", msg)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEADER_BYTES and not self._refused:
            self._refuse(431, "headers_too_large", f"The request's headers exceed {MAX_HEADER_BYTES:,} bytes.")

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(self.header_timeout_s, self._too_slow)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._head_bytes == 0:
            self.transport.close()
            return
        self._refuse(408, "request_timeout", f"The headers did not arrive within {self.header_timeout_s:g} s.")

    def _refuse(self, status: int, code: str, sentence: str) -> None:
        """Answers without the application and closes."""
        self._refused = True
        body = orjson.dumps(error_document(bad_request(sentence, code=code, status=status)))
        head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % (
            status,
            _REASONS[status],
            len(body),
        )
        self.transport.write(head + b"x-should-retry: false\r\nconnection: close\r\n\r\n" + body)
        self.transport.close()


def create_app() -> App:
    """What each worker process calls."""
    config = GatewayConfig.from_environment()
    GuardedProtocol.header_timeout_s = config.header_timeout_s
    return App(config)


def server_config(app: Any, config: GatewayConfig, **overrides: Any) -> uvicorn.Config:
    """uvicorn's settings: nothing between the socket and the application that is not needed."""
    settings: dict[str, Any] = {
        "host": config.host,
        "port": config.port,
        "workers": config.workers,
        "loop": "uvloop",
        "http": GuardedProtocol,
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "log_level": config.log_level.lower(),
        "timeout_keep_alive": 30,
        # the gateway cuts its streams itself at drain_s; the server's own limit is only a net below it
        "timeout_graceful_shutdown": int(config.drain_s) + 5,
        **overrides,
    }
    return uvicorn.Config(app, **settings)


def run(config: GatewayConfig) -> None:
    """Serves until SIGTERM or SIGINT. With several workers their metrics are added up through files."""
    factory = "pools.gateway.server:create_app"
    if config.workers == 1:
        uvicorn.Server(server_config(factory, config, factory=True)).run()
        return
    with tempfile.TemporaryDirectory(prefix="tp-metrics-") as folder:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        settings = server_config(factory, config, factory=True)
        uvicorn.supervisors.Multiprocess(settings, sockets=[settings.bind_socket()]).run()
