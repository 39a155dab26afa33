"""Search over everything with a name: the list under the box in the frame, and a page of its own."""

from __future__ import annotations

from itertools import groupby
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe

from pools.selectors.search import MOST, MOST_LETTERS, Hit, search
from portal.accounts.access import signed_in
from portal.accounts.models import User
from portal.lib.pages import page

KINDS = {"tenant": "Tenants", "pool": "Pools", "tier": "Tiers", "entitlement": "Entitlements"}


class Found(NamedTuple):
    """One hit with where it leads."""

    label: str
    detail: str
    url: str


@signed_in
@require_safe
def results(request: HttpRequest) -> HttpResponse:
    """The page: what Enter and a browser without scripts show."""
    text = asked(request)
    context = {"nav": "search", "q": text, "groups": found(cast(User, request.user), text), "most": MOST}
    return page(request, "dashboards/search.html", context)


@signed_in
@require_safe
def drop(request: HttpRequest) -> HttpResponse:
    """The list under the box, while one types."""
    text = asked(request)
    return render(request, "dashboards/_search_hits.html", {"q": text, "groups": found(cast(User, request.user), text)})


def asked(request: HttpRequest) -> str:
    """What was typed."""
    return request.GET.get("q", "").strip()[:MOST_LETTERS]


def found(user: User, text: str) -> list[tuple[str, list[Found]]]:
    """Hits by kind, each with its address for this person."""
    hits = search(user, text)
    return [
        (KINDS[kind], [Found(hit.label, hit.detail, address(user, hit)) for hit in group])
        for kind, group in groupby(hits, key=lambda hit: hit.kind)
    ]


def address(user: User, hit: Hit) -> str:
    """Where a hit leads: operators to the thing itself, a tenant's people to their own page of it."""
    if not user.reads_everything:
        home = reverse("tenant-home", args=[hit.tenant])
        return home if hit.kind == "tenant" else f"{home}?{urlencode({'pool': hit.slug})}"
    doors: dict[str, tuple[tuple[str, list[Any]], ...]] = {
        "tenant": (("tenant", [hit.slug]), ("tenant-home", [hit.slug])),
        "pool": (("pool", [hit.slug]),),
        "tier": (("tier", [hit.slug]),),
        "entitlement": (("entitlement", [hit.slug]),),
    }
    for name, args in doors[hit.kind]:
        try:
            return reverse(name, args=args)
        except NoReverseMatch:
            continue
    return f"{reverse('entitlements')}?{urlencode({'q': hit.slug})}"
