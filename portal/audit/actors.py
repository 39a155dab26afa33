"""Who acts through a page."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest

from portal.accounts.models import User
from portal.audit.models import Source
from portal.audit.services import Actor


def page_actor(request: HttpRequest) -> Actor:
    """The signed-in person, acting through a page."""
    return Actor(cast(User, request.user), Source.PAGE)
