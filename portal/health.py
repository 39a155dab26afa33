"""Is the process alive, and can it serve?"""

from __future__ import annotations

from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal.accounts.access import public
from portal.lib.hot import hot


@public
@require_safe
@never_cache
def livez(request: HttpRequest) -> HttpResponse:
    """200 while the process runs."""
    return HttpResponse("alive\n", content_type="text/plain")


@public
@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when both stores answer, else 503 naming the one that does not."""
    parts = {"postgres": _postgres, "hot_store": _hot_store}
    found: dict[str, str] = {}
    for name, ask in parts.items():
        try:
            ask()
            found[name] = "ok"
        except Exception as error:  # whatever it is, the answer is the same: not ready
            found[name] = type(error).__name__
    ready = all(value == "ok" for value in found.values())
    return JsonResponse({"status": "ready" if ready else "not ready", **found}, status=200 if ready else 503)


def _postgres() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _hot_store() -> None:
    hot().ping()
