"""Who is still let in: one subscription per process to the changes of rights, and the state of a session."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings

from portal.accounts.changes import GROUP
from portal.accounts.models import User
from portal.live.hub import Feed, Listener
from portal.people.second_factor import FLAG, has_one, needs_one

RIGHTS = -1  # the hub's number of this feed; pools have positive ones


class RightsListener(Listener):
    """Woken when the rights of one person change."""

    def __init__(self, user_id: int) -> None:
        super().__init__(None)
        self.user_id = user_id


class RightsFeed(Feed):
    """The process's subscription; a message is the id of the person it is about."""

    def __init__(self) -> None:
        super().__init__(RIGHTS, GROUP)

    def spread(self, text: str) -> None:
        """Wakes the sockets of that person."""
        for listener in self.listeners:
            if isinstance(listener, RightsListener) and str(listener.user_id) == text:
                listener.put(text)


@database_sync_to_async  # type: ignore[untyped-decorator]
def session_lives(user_id: int, session: Any) -> bool:
    """Whether the session a socket was opened with still exists, and has the second factor its person needs."""
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    if not session.session_key or not store.exists(session.session_key):
        return False
    user = User.objects.filter(pk=user_id, is_active=True).first()
    return user is not None and (not needs_one(user) or session.get(FLAG) == user.pk or has_one(user))
