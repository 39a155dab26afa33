"""Saved views: one person's own bookmarks of a list. No audit record: nobody's capacity moves."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from pools.models import SavedView
from portal.accounts.models import User
from portal.lib.errors import DomainError

LONGEST_NAME, LONGEST_QUERY = 60, 2000
MOST_EACH = 50


@transaction.atomic
def view_keep(*, user: User, page: str, name: str, query: str, shared: bool, now: datetime) -> SavedView:
    """Keeps a query string under a name; the same name again replaces it. Raises DomainError ``bad_view``."""
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or "\x00" in name + query:
        raise DomainError("bad_view", f"Give the view a name of 1 to {LONGEST_NAME} letters, got {len(name)}.")
    if len(query) > LONGEST_QUERY:
        raise DomainError(
            "bad_view", f"The view is too long to be kept: {len(query):,} letters, {LONGEST_QUERY:,} at most."
        )
    mine = SavedView.objects.filter(user=user, page=page)
    if mine.exclude(name=name).count() >= MOST_EACH:
        raise DomainError("bad_view", f"You keep {MOST_EACH} views already; forget one first.", status=409)
    view, _ = SavedView.objects.update_or_create(
        user=user,
        page=page,
        name=name,
        defaults={"query": query, "shared": shared},
        create_defaults={"query": query, "shared": shared, "created_at": now},
    )
    return view


def view_forget(*, user: User, view: SavedView) -> None:
    """Deletes one of the person's own views. Raises DomainError ``not_yours``."""
    if view.user_id != user.pk:
        raise DomainError("not_yours", f"The view “{view.name}” belongs to {view.user}.", status=403)
    view.delete()
