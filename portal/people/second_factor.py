"""Who must have a second factor (REQUIRE_MFA), and whether a session may go on without one."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.http import HttpRequest

from portal.accounts.models import User

FLAG = "second_factor_ok"


def needs_one(user: User) -> bool:
    """Whether REQUIRE_MFA names this person."""
    return bool(settings.REQUIRE_MFA == "all") or (settings.REQUIRE_MFA == "operators" and user.reads_everything)


def has_one(user: User) -> bool:
    """An authenticator app or a passkey; recovery codes alone are none."""
    found: bool = Authenticator.objects.filter(user_id=user.pk, type__in=["totp", "webauthn"]).exists()
    return found


def passes(request: HttpRequest) -> bool:
    """Whether the signed-in person may use the portal: no factor needed, one is set up, or single sign-on vouches.

    Who came by single sign-on was asked there for whatever that service requires. The session remembers a yes.
    """
    user = request.user
    if not isinstance(user, User) or not needs_one(user):
        return True
    if request.session.get(FLAG) == user.pk:
        return True
    records: list[dict[str, Any]] = get_authentication_records(request, user)
    good = any(record.get("method") == "socialaccount" for record in records) or has_one(user)
    if good:
        request.session[FLAG] = user.pk
    return good
