"""Readers of the people page."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet

from portal.accounts.choices import PlatformRole
from portal.accounts.models import Membership, User

PAGE = 50
MOST_LETTERS = 200
SHOWS = {
    "": "Everybody active",
    "platform": "With a platform role",
    "nothing": "Without any role",
    "no-factor": "Platform role, no second factor",
    "inactive": "Deactivated",
}


def people_found(text: str, show: str) -> QuerySet[User]:
    """People by a part of address or name, and a kind of :data:`SHOWS`; by address."""
    factors = Authenticator.objects.filter(user=OuterRef("pk"), type__in=["totp", "webauthn"])
    memberships = Membership.objects.select_related("tenant").order_by("tenant__slug")
    rows = User.objects.annotate(has_factor=Exists(factors)).prefetch_related(
        Prefetch("memberships", memberships, to_attr="held")
    )
    text = text.strip()[:MOST_LETTERS].replace("\x00", "")
    if text:
        rows = rows.filter(Q(email__icontains=text) | Q(first_name__icontains=text) | Q(last_name__icontains=text))
    rows = rows.filter(is_active=show != "inactive")
    if show in {"platform", "no-factor"}:
        rows = rows.exclude(platform_role=PlatformRole.NONE)
    if show == "no-factor":
        rows = rows.filter(has_factor=False)
    if show == "nothing":
        rows = rows.filter(platform_role=PlatformRole.NONE, memberships__isnull=True)
    return rows.order_by("email")


def people_page(text: str, show: str, after: str) -> tuple[list[User], str | None]:
    """One page behind an address, and the address the next one begins behind."""
    rows = people_found(text, show)
    if after:
        rows = rows.filter(email__gt=after[:254].replace("\x00", ""))
    found = list(rows[: PAGE + 1])
    return found[:PAGE], found[PAGE - 1].email if len(found) > PAGE else None
