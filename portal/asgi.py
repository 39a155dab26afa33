"""One ASGI application: sockets to Channels, pages and API to Django as WSGI on a bounded pool of threads.

Django is several times faster as WSGI than as ASGI; a thread per database connection is the most that can work at once.
"""

from __future__ import annotations

import gc
import os
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.core.wsgi import get_wsgi_application

_pages = get_wsgi_application()  # sets Django up; what follows may import models

from a2wsgi import WSGIMiddleware  # noqa: E402
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import URLRouter  # noqa: E402
from django.urls import get_resolver  # noqa: E402

from portal import env  # noqa: E402
from portal.live.origin import OriginCheck, Refused  # noqa: E402
from portal.live.routing import websocket_urlpatterns  # noqa: E402

_http: Any = WSGIMiddleware(cast(Any, _pages), workers=env.read("DATABASE_POOL_SIZE"))
_sockets = OriginCheck(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
_nowhere = Refused.as_asgi()


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The door."""
    if scope["type"] == "http":
        await _http(scope, receive, send)
    elif scope["type"] == "websocket":
        known = any(route.pattern.match(scope["path"].lstrip("/")) for route in websocket_urlpatterns)
        await (_sockets if known else _nowhere)(scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)


def _settle() -> None:
    """Loads every page's code now instead of with the first request, and spares it from the collections of garbage:
    they stopped pages and live messages alike for a tenth of a second."""
    _ = get_resolver().url_patterns
    gc.collect()
    gc.freeze()


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            _settle()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
