"""What every page view shares: render, answer JSON, leave a note with an undo for the next page."""

from __future__ import annotations

from typing import Any

import orjson
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.lib.errors import Answering, DomainError


def page(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    *,
    charts: bool = False,
    status: int = 200,
    kept: bool = True,
) -> HttpResponse:
    """A rendered page; ``charts`` allows the inline styles that Plotly needs (see dashboards.middleware). With
    ``kept`` false no cache keeps it: what it shows was computed for this moment."""
    response = render(request, template, context, status=status)
    response.has_charts = charts  # type: ignore[attr-defined]
    if not kept:
        response["Cache-Control"] = "no-store"
    return response


def json(data: Any, *, status: int = 200) -> HttpResponse:
    """Compact JSON; never cached."""
    return json_text(orjson.dumps(data), status=status)


def json_text(text: bytes | str, *, status: int = 200) -> HttpResponse:
    """JSON that is text already; never cached."""
    response = HttpResponse(text, content_type="application/json", status=status)
    response["Cache-Control"] = "no-store"
    return response


def note(request: HttpRequest, text: str, *, undo: str = "", bad: bool = False) -> None:
    """A toast on the next page. ``undo`` is the address of a POST that takes the deed back; the toast offers it."""
    (messages.error if bad else messages.success)(request, text, extra_tags=f"undo:{undo}" if undo else "")


def refusal_noted(request: HttpRequest) -> Answering:
    """For a deed with a note of its success: a refusal ends the block, is the note instead, and the view goes on behind
    it. What is not there stays a page that is not there."""

    def noted(error: DomainError) -> bool:
        if error.status != 404:
            note(request, error.sentence, bad=True)
        return error.status != 404

    return Answering(noted)
