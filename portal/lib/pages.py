"""What every page view shares: render, answer JSON, leave a note with an undo for the next page."""

from __future__ import annotations

from typing import Any

import orjson
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def page(
    request: HttpRequest, template: str, context: dict[str, Any], *, charts: bool = False, status: int = 200
) -> HttpResponse:
    """A rendered page; ``charts`` allows the inline styles that Plotly needs (see dashboards.middleware)."""
    response = render(request, template, context, status=status)
    response.has_charts = charts  # type: ignore[attr-defined]
    return response


def json(data: Any, *, status: int = 200) -> HttpResponse:
    """Compact JSON; never cached."""
    response = HttpResponse(orjson.dumps(data), content_type="application/json", status=status)
    response["Cache-Control"] = "no-store"
    return response


def note(request: HttpRequest, text: str, *, undo: str = "", bad: bool = False) -> None:
    """A toast on the next page. ``undo`` is the address of a POST that takes the deed back; the toast offers it."""
    (messages.error if bad else messages.success)(request, text, extra_tags=f"undo:{undo}" if undo else "")
