"""Only pages of this portal may open its sockets: a browser sends cookies along from any site it is on."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.http.request import validate_host

FORBIDDEN = 4403


def _header(scope: dict[str, Any], name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope.get("headers", []) if key == name), "")


def allowed(scope: dict[str, Any]) -> bool:
    """The Origin is the host that was asked, and one of ALLOWED_HOSTS; or it is listed in TRUSTED_ORIGINS."""
    origin, host = _header(scope, b"origin"), _header(scope, b"host")
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    parts = urlsplit(origin)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.netloc.lower() != host.lower():
        return False
    return validate_host(parts.hostname or "", settings.ALLOWED_HOSTS)


class Refused(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no annotations
    """Closes before it opened; the server answers 403."""

    channel_layer_alias = "none"

    async def connect(self) -> None:
        """Nobody gets in."""
        await self.close(FORBIDDEN)


class OriginCheck:
    """ASGI middleware around the sockets."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.refused = Refused.as_asgi()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        return await (self.app if allowed(scope) else self.refused)(scope, receive, send)
