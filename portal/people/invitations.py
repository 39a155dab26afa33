"""Inviting people by a one-time link: make, send again, withdraw, give back, accept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from portal.accounts import invitations as rows
from portal.accounts.access import ROLE_ORDER, is_admin
from portal.accounts.changes import rights_changed
from portal.accounts.choices import PLATFORM_ORDER, Given, PlatformRole, TenantRole
from portal.accounts.models import Invitation, Membership, Tenant, User
from portal.accounts.services import membership_put
from portal.audit.models import Source
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.clock import now as clock_now
from portal.lib.errors import DomainError
from portal.lib.mail import mail_delivers, mail_send, portal_address


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation just made. ``link`` exists only here and in the e-mail; ``delivers`` is whether e-mails leave the
    installation: where they do not, show the link to whoever invited."""

    invitation: Invitation
    link: str
    delivers: bool


def invitation_list(tenant: Tenant | None, now: datetime, most: int = rows.MOST_OPEN) -> list[Invitation]:
    """Open invitations of a tenant, or (None) to platform roles; newest first."""
    return list(rows.invitations_open(tenant, now)[:most])


@recorded()
def invitation_create(
    *,
    actor: Actor,
    now: datetime,
    email: str,
    tenant: Tenant | None = None,
    role: str = "",
    platform_role: str = PlatformRole.NONE,
    days: int = rows.DAYS,
    reason: str = "",
) -> NewInvitation:
    """Invites an address into a tenant (with ``role``) or to a platform role; the e-mail leaves with the commit.

    An open invitation to the same address and place is replaced. Raises DomainError ``bad_invitation``,
    ``already_member``, ``not_allowed`` (only platform admins give platform roles), ``tenant_not_active``.
    """
    if tenant is None and actor.user is not None and not is_admin(actor.user):
        raise DomainError("not_allowed", "Only a platform admin gives platform roles; ask one of them.", status=403)
    row, token = rows.invitation_insert(
        email=email, tenant=tenant, role=role, platform_role=platform_role, by=actor.user, now=now, days=days
    )
    _record(actor, "invitation_create", row, now, after=_terms(row), reason=reason)
    return _sent(row, token, actor)


@recorded()
def invitation_resend(
    *, actor: Actor, now: datetime, invitation_id: int, tenant: Tenant | None = None
) -> NewInvitation:
    """A fresh link to the same address for another week; the old link ends. Raises DomainError ``not_found``."""
    old = rows.invitation_get(invitation_id, tenant)
    return invitation_create(
        actor=actor,
        now=now,
        email=old.email,
        tenant=old.tenant,
        role=old.role,
        platform_role=old.platform_role,
        reason="Sent again.",
    )


@recorded()
def invitation_revoke(
    *, actor: Actor, now: datetime, invitation_id: int, tenant: Tenant | None = None, reason: str = ""
) -> Invitation:
    """Withdraws an open invitation: its link stops working. Raises DomainError ``not_found``, ``invitation_closed``."""
    row = rows.invitation_get(invitation_id, tenant)
    if row.accepted_at is not None:
        raise DomainError("invitation_closed", f"{row.email} has accepted already; end the role instead.", status=409)
    if row.revoked_at is None:
        row.revoked_at = now
        row.save(update_fields=["revoked_at"])
        _record(actor, "invitation_revoke", row, now, before=_terms(row), reason=reason)
    return row


@recorded()
def invitation_restore(*, actor: Actor, now: datetime, invitation_id: int, tenant: Tenant | None = None) -> Invitation:
    """Undoes a withdrawal: the link in the e-mail works again. Raises DomainError when it was replaced or ended."""
    row = rows.invitation_get(invitation_id, tenant)
    newer = Invitation.objects.filter(email=row.email, tenant=tenant, revoked_at__isnull=True).exclude(pk=row.pk)
    if row.expires_at <= now or newer.filter(created_at__gte=row.created_at).exists():
        raise DomainError("invitation_closed", "That invitation has ended or was replaced; invite again.", status=409)
    if row.revoked_at is not None:
        row.revoked_at = None
        row.save(update_fields=["revoked_at"])
        _record(actor, "invitation_restore", row, now, after=_terms(row))
    return row


@recorded()
def invitation_accept(*, token: str, now: datetime, user: User) -> Invitation:
    """Gives the person what the link promises; never less than they have. Once.

    Raises DomainError ``invitation_closed``, or ``other_person`` when the link went to another address.
    """
    row = rows.invitation_for(token, now, lock=True)
    if user.email.lower() != row.email:
        sentence = (
            f"This invitation is for {row.email}; you are signed in as {user.email}. Sign out, then open it again."
        )
        raise DomainError("other_person", sentence, status=403)
    before = _hold(user, row, now)
    row.accepted_at, row.accepted_by = now, user
    row.save(update_fields=["accepted_at", "accepted_by"])
    _record(Actor(user, Source.PAGE), "invitation_accept", row, now, before=before, after=_terms(row))
    return row


@recorded()
def invitation_join(*, token: str, now: datetime, name: str, password: str) -> User:
    """Makes the account of somebody new and accepts. The link has proved the address.

    Raises DomainError ``invitation_closed``, ``has_account`` (sign in instead), ``bad_password``.
    """
    row = rows.invitation_for(token, now, lock=True)
    if User.objects.filter(email__iexact=row.email).exists():
        raise DomainError("has_account", f"There is an account for {row.email} already; sign in to accept.", status=409)
    user = User(email=row.email, first_name=" ".join(name.split())[:150])
    try:
        validate_password(password, user)
    except ValidationError as error:
        sentence = " ".join(error.messages)
        raise DomainError("bad_password", sentence, fields={"password": sentence}) from None
    user.set_password(password)
    user.save()
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    actor = Actor(user, Source.PAGE)
    after = {"email": user.email, "by": "invitation"}
    audit_record(actor=actor, verb="user_create", target=user, before={}, after=after, reason="", now=now)
    invitation_accept(token=token, now=now, user=user)
    return user


def _hold(user: User, row: Invitation, now: datetime) -> dict[str, str]:
    """The role of the invitation, unless the person holds a higher one; what they held before."""
    if row.tenant is None:
        before = user.platform_role
        if PLATFORM_ORDER.index(PlatformRole(row.platform_role)) > PLATFORM_ORDER.index(PlatformRole(before)):
            user.platform_role, user.platform_role_from = row.platform_role, Given.HAND
            user.save(update_fields=["platform_role", "platform_role_from"])
            rights_changed(user.pk)
        return {"platform_role": before}
    held = Membership.objects.filter(tenant=row.tenant, user=user).values_list("role", flat=True).first()
    if held is None or ROLE_ORDER.index(TenantRole(row.role)) > ROLE_ORDER.index(TenantRole(held)):
        membership_put(tenant=row.tenant, user=user, role=row.role, now=now)
    return {"role": held or ""}


def _sent(row: Invitation, token: str, actor: Actor) -> NewInvitation:
    link = portal_address(f"/invitation/{token}/")
    transaction.on_commit(partial(_mail, row, link, actor.name))
    return NewInvitation(row, link, mail_delivers())


def _mail(row: Invitation, link: str, by: str) -> None:
    place = row.tenant.name if row.tenant else "Token Pools"
    role = TenantRole(row.role).label if row.tenant else PlatformRole(row.platform_role).label
    body = (
        f"{by} invites you to {place}.\n\nYour role would be: {role}.\n\n"
        f"Open this link before {row.expires_at:%Y-%m-%d %H:%M} UTC to accept it:\n{link}\n\n"
        "The link works once and only for this e-mail address. If you expected no invitation, ignore this message."
    )
    error = mail_send(to=[row.email], subject=f"Invitation to {place}", body=body)
    sent_at = None if error else clock_now()
    Invitation.objects.filter(pk=row.pk).update(sent_at=sent_at, mail_error=error)
    row.sent_at, row.mail_error = sent_at, error


def _terms(row: Invitation) -> dict[str, str]:
    place = {"role": row.role} if row.tenant_id else {"platform_role": str(row.platform_role)}
    return {"email": row.email, **place, "expires_at": row.expires_at.isoformat()}


def _record(
    actor: Actor,
    verb: str,
    row: Invitation,
    now: datetime,
    *,
    before: dict[str, str] | None = None,
    after: dict[str, str] | None = None,
    reason: str = "",
) -> None:
    audit_record(
        actor=actor,
        verb=verb,
        target=row,
        before=before or {},
        after=after or {},
        reason=reason,
        now=now,
        tenant=row.tenant,
    )
