"""What views do with a refused deed: a note, or sentences in the form, and nothing that follows it in the block."""

from __future__ import annotations

import pytest
from django import forms
from django.contrib.messages import get_messages
from django.contrib.messages.storage.cookie import CookieStorage
from django.http import HttpRequest
from django.test import RequestFactory

from portal.lib.errors import DomainError
from portal.lib.forms import refusal_shown
from portal.lib.pages import note, refusal_noted


class Named(forms.Form):
    name = forms.CharField()


def asked() -> HttpRequest:
    request = RequestFactory().post("/")
    request._messages = CookieStorage(request)  # type: ignore[attr-defined]
    return request


def said(request: HttpRequest) -> list[tuple[str, str]]:
    return [(one.level_tag, one.message) for one in get_messages(request)]


def test_a_refusal_is_the_note_instead() -> None:
    request = asked()
    with refusal_noted(request):
        note(request, "first")
        raise DomainError("no", "It is not so.", status=409)
    assert said(request) == [("success", "first"), ("error", "It is not so.")]


def test_what_is_not_there_and_what_broke_pass_through() -> None:
    request = asked()
    with pytest.raises(DomainError), refusal_noted(request):
        raise DomainError("not_found", "Gone.", status=404)
    with pytest.raises(ValueError), refusal_noted(request):
        raise ValueError
    assert said(request) == []


def test_a_refusal_stands_in_the_form() -> None:
    form = Named({"name": "x"})
    assert form.is_valid()
    with refusal_shown(form):
        raise DomainError("bad", "both", fields={"name": "Too short.", "other": "Not that."})
    assert form.errors == {"name": ["Too short."], "__all__": ["Not that."]}
    with pytest.raises(ValueError), refusal_shown(form):
        raise ValueError
