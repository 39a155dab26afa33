"""The gateway's settings, read once from the environment through portal.env (never from Django)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pools.gateway.upstream import Timeouts
from portal import env


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Seconds and bytes; see ``portal/env.py`` for what each means."""

    redis_url: str
    secret_key: str
    host: str = "127.0.0.1"
    port: int = 8001
    workers: int = 1
    body_limit_bytes: int = 8 * 1024 * 1024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 20.0
    drain_s: float = 30.0
    drain_delay_s: float = 0.0
    log_level: str = "INFO"
    timeouts: Timeouts = field(default_factory=Timeouts)

    @staticmethod
    def from_environment(environ: Mapping[str, str] | None = None) -> GatewayConfig:
        """Raises DomainError naming the setting that is wrong."""

        def seconds(name: str) -> float:
            return float(env.read(name, environ))

        return GatewayConfig(
            redis_url=env.redis_url(environ),
            secret_key=env.secret_key(environ),
            host=env.read("BIND_ADDRESS", environ),
            port=env.read("GATEWAY_PORT", environ),
            workers=env.read("GATEWAY_WORKERS", environ),
            body_limit_bytes=env.read("GATEWAY_BODY_LIMIT", environ),
            header_timeout_s=seconds("GATEWAY_HEADER_TIMEOUT"),
            body_timeout_s=seconds("GATEWAY_BODY_TIMEOUT"),
            drain_s=seconds("GATEWAY_DRAIN"),
            drain_delay_s=seconds("GATEWAY_DRAIN_DELAY"),
            log_level=env.read("LOG_LEVEL", environ),
            timeouts=Timeouts(
                seconds("GATEWAY_CONNECT_TIMEOUT"),
                seconds("GATEWAY_FIRST_BYTE_TIMEOUT"),
                seconds("GATEWAY_IDLE_TIMEOUT"),
            ),
        )
