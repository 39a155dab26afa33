"""Saved views of the entitlement grid: the address of a list under a name, for oneself or for everybody."""

from __future__ import annotations

from typing import NamedTuple, cast

from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from pools.models import SavedView
from pools.services.saved_views import LONGEST_NAME, view_forget, view_keep
from portal.accounts.access import reads_everything
from portal.accounts.models import User
from portal.lib.clock import now
from portal.lib.pages import note, refusal_noted

PAGE_NAME = "entitlements"
MOST_VIEWS = 100


class Shown(NamedTuple):
    """One view in the list; ``current`` when the page shows it right now, ``mine`` when the reader may forget it."""

    view: SavedView
    current: bool
    mine: bool


def views_of(user: User, given: QueryDict) -> list[Shown]:
    """The reader's own views and the shared ones, by name. One query."""
    rows = SavedView.objects.filter(page=PAGE_NAME).select_related("user").order_by("name", "pk")[:MOST_VIEWS]
    here = _shape(given)
    return [
        Shown(view, _shape(QueryDict(view.query)) == here, view.user_id == user.pk)
        for view in rows
        if view.shared or view.user_id == user.pk
    ]


def _shape(given: QueryDict) -> list[tuple[str, str]]:
    return sorted((key, str(value)) for key, values in given.lists() if key != "cursor" for value in values if value)


@reads_everything
@require_POST
def view_save(request: HttpRequest) -> HttpResponseBase:
    """Keeps the present address under a name. Auditors may too: it changes nothing but their own list."""
    user = cast(User, request.user)
    query = request.POST.get("query", "").lstrip("?")
    shared = request.POST.get("shared") == "1" and user.operates
    with refusal_noted(request):
        view = view_keep(
            user=user, page=PAGE_NAME, name=request.POST.get("name", ""), query=query, shared=shared, now=now()
        )
        undo = reverse("entitlements-view-delete", args=[view.pk])
        note(request, f"The view “{view.name}” is kept{' for everybody' if shared else ''}.", undo=undo)
    return _back(query)


@reads_everything
@require_POST
def view_delete(request: HttpRequest, view_id: int) -> HttpResponseBase:
    """Forgets one of the person's own views."""
    user = cast(User, request.user)
    view = get_object_or_404(SavedView, pk=view_id, user=user, page=PAGE_NAME)
    view_forget(user=user, view=view)
    note(request, f"The view “{view.name}” is gone.")
    return _back(request.POST.get("query", ""))


def _back(query: str) -> HttpResponse:
    address = reverse("entitlements")
    return redirect(f"{address}?{QueryDict(query[:2000]).urlencode()}" if query else address)


__all__ = ["LONGEST_NAME", "view_delete", "view_save", "views_of"]
