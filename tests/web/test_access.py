"""How doors refuse. Which role may open which of them: ``test_roles`` and its table ``routes``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import resolve

from portal.accounts.models import User
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


def test_unknown_things_are_404_with_a_page(everybody: Everybody, as_: As) -> None:
    for at in ("/pools/none/", "/tiers/none/", "/t/none/", "/t/alice/?pool=none", "/nowhere/"):
        answer = as_(everybody.olga).get(at)
        assert answer.status_code == 404, at
        assert b"To the start" in answer.content


def test_a_view_that_declares_nothing_is_refused(
    everybody: Everybody, as_: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = resolve("/overview/").func
    monkeypatch.delattr(view, "access")
    assert as_(everybody.olga).get("/overview/").status_code == 403


def test_fragments_say_that_the_session_ended(everybody: Everybody, as_: As) -> None:
    assert as_(None).get("/pools/chat-8b/endpoints/", HTTP_HX_REQUEST="true").status_code == 401
    assert as_(None).get("/pools/chat-8b/charts/", HTTP_ACCEPT="application/json").status_code == 401


def test_back_office_is_for_superusers_and_changes_nothing(everybody: Everybody, as_: As) -> None:
    assert as_(everybody.olga).get("/back-office/").status_code == 302
    root = User.objects.create_superuser("super@example.org", "correct horse battery")
    client = as_(root)
    assert client.get("/back-office/").status_code == 200
    assert client.get("/back-office/pools/entitlement/").status_code == 200
    assert client.get("/back-office/accounts/tenant/add/").status_code == 403
