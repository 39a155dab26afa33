"""Pages for what went wrong: what happened, in a sentence, and what to do next."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from portal.lib.contention import contended
from portal.lib.errors import DomainError

PAGES = {
    400: (
        "That request could not be read",
        "Something in the address or the form is malformed. Go back, reload the page, then try again.",
    ),
    401: ("You are not signed in", "Your session has ended. Sign in again."),
    403: ("You may not open this page", "Your role does not include it."),
    404: ("There is nothing here", "The address is wrong, or what was here is gone, or it belongs to somebody else."),
    405: ("That cannot be done this way", "The address is for sending something, not for opening it. Go back."),
    409: (
        "That does not fit what is there now",
        "Somebody may have changed it meanwhile. Go back, reload the page, then try again.",
    ),
    410: ("That link has ended", "Ask whoever sent it for a new one."),
    429: ("Too many requests", "Wait a moment, then try again."),
    500: (
        "Something broke on our side",
        "The error was noted. Try again; if it stays, tell an operator what you were doing.",
    ),
    503: (
        "A part of the system cannot be reached",
        "The portal is up, one of its stores is not. Try again in a few seconds.",
    ),
}
# What each status offers besides the way to the start.
RELOAD = {429, 500, 503}
STORES = {
    "postgres": "The database (PostgreSQL) does not answer. Requests to models go on as they were.",
    "valkey": "The hot store (Valkey) does not answer. Nothing is lost that was kept.",
}
CONTENDED = (
    "Somebody changed the same thing at the same moment. Nothing of yours was changed: look at it again, "
    "then send it anew."
)
RETRY_S = 5


def error_page(request: HttpRequest, status: int, sentence: str = "") -> HttpResponse:
    """The page of one status; ``sentence`` replaces the general advice. A fragment request gets the sentence alone."""
    title, advice = PAGES.get(status, PAGES[500 if status >= 500 else 400])
    if _wants_words(request):
        return HttpResponse(sentence or advice, status=status, content_type="text/plain; charset=utf-8")
    context = {
        "status": status,
        "title": title,
        "sentence": sentence or advice,
        "again": status in RELOAD,
        "signed_in": getattr(getattr(request, "user", None), "is_authenticated", False),
        "nav": "",
    }
    return render(request, "errors/error.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """handler400. Drawn bare: a request this malformed may not even say to which host it goes."""
    return _bare(request, 400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """handler403: a view's own reason is shown."""
    return error_page(request, 403, str(exception or ""))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """handler404: a view's own sentence is shown; the resolver's list of routes is not."""
    reason = exception.args[0] if exception is not None and exception.args else ""
    return error_page(request, 404, reason if isinstance(reason, str) else "")


def too_many(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """handler429 of django-allauth: too many tries of the same kind."""
    response = error_page(request, 429, "You tried that too often just now. Wait five minutes, then try again.")
    response["Retry-After"] = "300"
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """CSRF_FAILURE_VIEW."""
    return error_page(
        request, 403, "The form was open too long or came from another site. Reload the page and send it again."
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: drawn without a database, a session or a menu; 503 when a store is what is missing."""
    store = unreachable(sys.exc_info()[1])
    return _unavailable(request, store) if store else _bare(request, 500)


class DomainErrors:
    """Turns a refused deed into its page, two deeds in each other's way into 409, an unreachable store into 503."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Called by Django when a view raises."""
        if isinstance(error, DomainError):
            return error_page(request, error.status, error.sentence)
        if isinstance(error, DataError):  # a filter that the database cannot even read, such as a NUL byte
            return error_page(request, 400)
        if contended(error):
            return error_page(request, 409, CONTENDED)
        store = unreachable(error)
        return _unavailable(request, store) if store else None


def unreachable(error: BaseException | None) -> str:
    """Which store an error says is away: "postgres", "valkey" or "" for any other error."""
    while error is not None:
        if isinstance(error, RedisConnectionError | RedisTimeoutError):
            return "valkey"
        if isinstance(error, OperationalError | InterfaceError):
            return "postgres"
        error = error.__cause__
    return ""


def _unavailable(request: HttpRequest, store: str) -> HttpResponse:
    response = _bare(request, 503, STORES[store])
    response["Retry-After"] = str(RETRY_S)
    return response


def _bare(request: HttpRequest, status: int, sentence: str = "") -> HttpResponse:
    """A page that needs nothing: no session, no person, no menu."""
    title, advice = PAGES[status]
    if _wants_words(request):
        return HttpResponse(sentence or advice, status=status, content_type="text/plain; charset=utf-8")
    context: dict[str, Any] = {
        "status": status,
        "title": title,
        "sentence": sentence or advice,
        "again": status in RELOAD and request.method in {"GET", "HEAD"},
        "retry_s": RETRY_S if status == 503 and request.method == "GET" else 0,
    }
    return HttpResponse(render_to_string("errors/bare.html", context), status=status)


def _wants_words(request: HttpRequest) -> bool:
    return "HX-Request" in request.headers or request.headers.get("Accept", "").startswith("application/json")
