"""Rows of invitations; the whole deeds, with audit record and e-mail, are in ``portal.people.invitations``."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import QuerySet

from portal.accounts.choices import PlatformRole, TenantRole, TenantState
from portal.accounts.models import Invitation, Membership, Tenant, User
from portal.lib.errors import DomainError
from portal.lib.secrets import key_digest

DAYS = 7
MOST_DAYS = 60
MOST_OPEN = 200


def invitation_digest(token: str) -> str:
    """What is kept of a link's token."""
    return key_digest(f"invitation {token}", settings.SECRET_KEY)


def invitations_open(tenant: Tenant | None, now: datetime) -> QuerySet[Invitation]:
    """Invitations that could still be accepted: of one tenant, or (None) those to platform roles."""
    rows = Invitation.objects.filter(accepted_at__isnull=True, revoked_at__isnull=True, expires_at__gt=now)
    return (rows.filter(tenant=tenant) if tenant else rows.filter(tenant__isnull=True)).select_related(
        "tenant", "created_by"
    )


def invitation_insert(
    *,
    email: str,
    tenant: Tenant | None,
    role: str,
    platform_role: str,
    by: User | None,
    now: datetime,
    days: int = DAYS,
) -> tuple[Invitation, str]:
    """A new row and its token; an open one to the same address and place ends. Raises DomainError ``bad_invitation``,
    ``already_member``, ``tenant_not_active``, ``too_many_invitations``."""
    email = email.strip().lower()
    _check(email, tenant, role, platform_role, days)
    if tenant is not None:
        if tenant.state == TenantState.OFFBOARDED:
            raise DomainError("tenant_not_active", f"{tenant.name} is offboarded; nobody can be invited.", status=409)
        if Membership.objects.filter(tenant=tenant, user__email=email).exists():
            sentence = f"{email} belongs to {tenant.name} already; change the role there instead."
            raise DomainError("already_member", sentence, status=409, fields={"email": sentence})
    older = Invitation.objects.filter(email=email, tenant=tenant, accepted_at__isnull=True, revoked_at__isnull=True)
    older.update(revoked_at=now)
    if invitations_open(tenant, now).count() >= MOST_OPEN:
        raise DomainError(
            "too_many_invitations",
            f"{MOST_OPEN} invitations are open already, which is the most. Revoke some that nobody will accept.",
            status=409,
        )
    token = secrets.token_urlsafe(32)
    row = Invitation.objects.create(
        email=email,
        tenant=tenant,
        role=role if tenant else "",
        platform_role=PlatformRole.NONE if tenant else platform_role,
        digest=invitation_digest(token),
        created_at=now,
        created_by=by,
        expires_at=now + timedelta(days=days),
    )
    return row, token


def invitation_for(token: str, now: datetime, *, lock: bool = False) -> Invitation:
    """The open invitation of a link. Raises DomainError ``invitation_closed`` (410) that says why it is not open."""
    rows = Invitation.objects.select_related("tenant", "created_by")
    if lock:
        rows = rows.select_for_update(of=("self",), no_key=True)
    row = rows.filter(digest=invitation_digest(token[:200])).first()
    ask = "Ask the person who invited you for a new link."
    if row is None:
        raise DomainError("invitation_closed", f"This invitation link is not known. {ask}", status=404)
    if row.accepted_at is not None:
        raise DomainError("invitation_closed", "This invitation was accepted already; sign in instead.", status=410)
    if row.revoked_at is not None:
        raise DomainError("invitation_closed", f"This invitation was withdrawn. {ask}", status=410)
    if row.expires_at <= now:
        raise DomainError(
            "invitation_closed", f"This invitation ended on {row.expires_at:%Y-%m-%d at %H:%M} UTC. {ask}", status=410
        )
    return row


def invitation_get(invitation_id: int, tenant: Tenant | None) -> Invitation:
    """A row for changing it; one of another tenant does not exist. Raises DomainError ``not_found``."""
    rows = Invitation.objects.select_for_update(of=("self",), no_key=True).select_related("tenant", "created_by")
    row = rows.filter(pk=invitation_id, tenant=tenant).first()
    if row is None:
        raise DomainError("not_found", "There is no such invitation.", status=404)
    return row


def _check(email: str, tenant: Tenant | None, role: str, platform_role: str, days: int) -> None:
    problems: dict[str, str] = {}
    try:
        validate_email(email)
    except ValidationError:
        problems["email"] = f"{email[:100]!r} is not an e-mail address."
    if tenant is not None and role not in TenantRole.values:
        problems["role"] = f"The role in a tenant is one of {', '.join(TenantRole.values)}, got {role!r}."
    platform = [value for value in PlatformRole.values if value != PlatformRole.NONE]
    if tenant is None and platform_role not in platform:
        problems["platform_role"] = f"The platform role is one of {', '.join(platform)}, got {platform_role!r}."
    if not 1 <= days <= MOST_DAYS:
        problems["days"] = f"An invitation is open for 1 to {MOST_DAYS} days, got {days}."
    if problems:
        raise DomainError("bad_invitation", " ".join(problems.values()), fields=problems)
