"""Around every page of somebody signed in: notes now and then that the session lives; asks for a second factor."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from portal.people.second_factor import passes

SEEN = "seen_at"
SEEN_EVERY_S = 600
# What somebody who still lacks a required second factor may open: the way to one, and out.
WAY_THERE = ("account", "mfa_")


class Sessions:
    """A session is noted when it begins and every ten minutes; without a required second factor it goes nowhere."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Called by Django before each view, after the person is known."""
        if getattr(view, "access", "") == "public":  # the door and the probes, which must open without any store
            return None
        if request.session.session_key is None or not request.user.is_authenticated:
            return None
        if time.time() - request.session.get(SEEN, 0) > SEEN_EVERY_S:
            request.session[SEEN] = int(time.time())
            UserSession.objects.create_from_request(request)
        name = (request.resolver_match.url_name if request.resolver_match else "") or ""
        if name.startswith(WAY_THERE) or passes(request):
            return None
        sentence = "Your role needs a second factor. Add an authenticator app or a passkey, then go on."
        if request.headers.get("HX-Request") or "application/json" in request.headers.get("Accept", ""):
            return HttpResponse(sentence, status=403, content_type="text/plain; charset=utf-8")
        messages.error(request, sentence)
        return redirect("account")
