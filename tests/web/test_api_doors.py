"""Every route below /api/ × every method, by whoever may not: deny by default, whatever a view forgot to say."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import URLResolver, get_resolver, path
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from portal import urls as portal_urls
from portal.accounts.access import public
from portal.accounts.models import User
from portal.lib.secrets import MANAGEMENT_PREFIX, new_key
from tests.web.conftest import Everybody
from tests.web.test_roles import address, patterns

As = Callable[[User | None], Client]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NO = {401, 403, 404, 405}
OPEN: frozenset[str] = frozenset()
"""Names of routes that anybody may use, such as the schema; say why beside each."""


def doors(resolver: URLResolver | None = None) -> list[tuple[str, Any]]:
    """(path, pattern) of every route of the API that is not open to all."""
    return [(at, one) for at, one in patterns(resolver) if at.startswith("api/") and one.name not in OPEN]


def let_in(everybody: Everybody, resolver: URLResolver | None = None, client: Client | None = None) -> list[str]:
    """Where somebody without a right was let in: without a key, with a wrong one, with another scheme."""
    found = []
    strange: tuple[dict[str, str], ...] = (
        {},
        {"authorization": "Basic dG9rZW46cG9vbHM="},
        {"authorization": f"Bearer {new_key(MANAGEMENT_PREFIX)}"},
        {"authorization": f"Bearer {new_key()}"},
    )
    for at, pattern in doors(resolver):
        for method in METHODS:
            for headers in strange:
                asking = client or Client(enforce_csrf_checks=True)
                answer = asking.generic(method, address(at, pattern, everybody), headers=headers)
                if answer.status_code not in NO and not answer.get("Location", "").startswith("/sign-in/"):
                    found.append(f"{method} /{at}: {answer.status_code}")
    return sorted(set(found))


def test_nobody_gets_in_without_a_right(everybody: Everybody) -> None:
    assert let_in(everybody) == []


def test_a_session_alone_changes_nothing_from_another_site(everybody: Everybody) -> None:
    """Without the form's token, as a page of somebody else would send it."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(everybody.olga)
    for at, pattern in doors():
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert client.generic(method, address(at, pattern, everybody)).status_code in NO, f"{method} /{at}"


class Forgetful(APIView):
    """Says nothing of who may."""

    def get(self, request: Any) -> Response:
        return Response({})

    post = get


@public
def generous(request: HttpRequest) -> HttpResponse:
    """Says that anybody may."""
    return HttpResponse()


class Careless(Forgetful):
    """Lets anybody in."""

    permission_classes = [AllowAny]


def silent(request: HttpRequest) -> HttpResponse:
    """A plain view without a decorator."""
    return HttpResponse()


@pytest.mark.parametrize(
    ("view", "caught"),
    [
        (Forgetful.as_view(), False),
        (silent, False),
        (Careless.as_view(), True),
        (generous, True),
    ],
    ids=["forgetful", "silent", "careless", "generous"],
)
def test_the_walk_finds_an_open_door(view: Any, caught: bool, everybody: Everybody, settings: Any) -> None:
    """A view that forgot to say who may is shut; one that opens to all is found."""
    urls = ModuleType("made_up_urls")
    urls.urlpatterns = [path("api/v1/things/", view, name="things"), *portal_urls.urlpatterns]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = urls
    assert bool(let_in(everybody, get_resolver(urls))) is caught
