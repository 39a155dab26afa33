"""The Content-Security-Policy of every page: scripts, sockets and pictures from here only, nothing inline."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

STRICT = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
# Plotly sizes its labels with inline styles; the back office's own scripts need more (superusers only).
CHARTS = {**STRICT, "style-src": "'self' 'unsafe-inline'"}
BACK_OFFICE = {**CHARTS, "script-src": "'self' 'unsafe-inline' 'unsafe-eval'"}
HEADER = "Content-Security-Policy"


def policy_text(policy: dict[str, str]) -> str:
    """The header's value."""
    return "; ".join(f"{name} {value}" for name, value in policy.items())


class ContentSecurityPolicy:
    """Adds the header; a response with charts says so by ``response.has_charts = True`` (see ``views.page``)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if HEADER not in response:
            if request.path.startswith("/back-office/"):
                policy = BACK_OFFICE
            else:
                policy = CHARTS if getattr(response, "has_charts", False) else STRICT
            response[HEADER] = policy_text(policy)
        response.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
        return response
