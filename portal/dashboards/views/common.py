"""What every page view shares."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.dashboards.live_state import LOST_MS, LiveState
from portal.lib.clock import now_ms


def page(request: HttpRequest, template: str, context: dict[str, Any], *, charts: bool = False) -> HttpResponse:
    """A rendered page; ``charts`` allows the inline styles that Plotly needs (see middleware)."""
    response = render(request, template, context)
    response.has_charts = charts  # type: ignore[attr-defined]
    return response


def json(data: Any) -> HttpResponse:
    """Compact JSON; never cached."""
    response = HttpResponse(orjson.dumps(data), content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response


def recent(state: LiveState | None) -> LiveState | None:
    """The state unless it is so old that showing it as present would mislead."""
    return state if state is not None and state.age_ms(now_ms()) < 2 * LOST_MS else None
