"""Deeds of platform admins on people: platform role, activity, second factors. Recorded; in effect at once."""

from __future__ import annotations

from datetime import datetime

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession

from portal.accounts.access import is_admin
from portal.accounts.changes import rights_changed
from portal.accounts.choices import Given, PlatformRole
from portal.accounts.models import User
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError
from portal.people.account import sessions_end


@recorded()
def platform_role_set(*, actor: Actor, now: datetime, user_id: int, role: str, reason: str = "") -> tuple[User, str]:
    """Gives a person a platform role, by hand; returns the person and the role before.

    Raises DomainError ``bad_role``, ``not_allowed``, ``last_platform_admin``, ``not_found``.
    """
    _only_admins(actor)
    if role not in PlatformRole.values:
        sentence = f"The platform role is one of {', '.join(PlatformRole.values)}, got {role[:40]!r}."
        raise DomainError("bad_role", sentence, fields={"role": sentence})
    user = _get(user_id)
    before = user.platform_role
    if before != role:
        _admin_stays(user)
        user.platform_role, user.platform_role_from = role, Given.HAND
        user.save(update_fields=["platform_role", "platform_role_from"])
        _record(actor, "platform_role_set", user, {"platform_role": before}, {"platform_role": role}, reason, now)
        rights_changed(user.pk)
    return user, before


@recorded()
def user_active_set(*, actor: Actor, now: datetime, user_id: int, active: bool, reason: str = "") -> User:
    """Deactivates a person (every session and socket ends now) or lets them in again; roles stay as they are.

    Raises DomainError ``not_allowed``, ``last_platform_admin``, ``yourself``, ``not_found``.
    """
    _only_admins(actor)
    user = _get(user_id)
    if user.is_active == active:
        return user
    if not active:
        if actor.user is not None and actor.user.pk == user.pk:
            raise DomainError("yourself", "You cannot deactivate yourself; ask another platform admin.", status=409)
        _admin_stays(user)
    user.is_active = active
    user.save(update_fields=["is_active"])
    if not active:
        for session in UserSession.objects.filter(user=user)[:1000]:
            session.end()
    verb = "user_activate" if active else "user_deactivate"
    _record(actor, verb, user, {"active": not active}, {"active": active}, reason, now)
    rights_changed(user.pk)
    return user


@recorded()
def second_factors_reset(*, actor: Actor, now: datetime, user_id: int, reason: str = "") -> User:
    """Takes away apps, passkeys and recovery codes of somebody who lost them; every session ends.

    Raises DomainError ``not_allowed``, ``not_found``.
    """
    _only_admins(actor)
    user = _get(user_id)
    count, _ = Authenticator.objects.filter(user=user).delete()
    if count:
        _record(actor, "second_factors_reset", user, {"factors": count}, {"factors": 0}, reason, now)
    sessions_end(actor=actor, now=now, user=user, reason=reason)
    return user


def _get(user_id: int) -> User:
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None:
        raise DomainError("not_found", f"There is no person {user_id}.", status=404)
    return user


def _only_admins(actor: Actor) -> None:
    if actor.user is not None and not is_admin(actor.user):
        raise DomainError("not_allowed", "Only a platform admin changes people; ask one of them.", status=403)


def _admin_stays(user: User) -> None:
    """Somebody must be left who can let others in."""
    if user.platform_role != PlatformRole.ADMIN:
        return
    admins = User.objects.select_for_update(no_key=True).filter(platform_role=PlatformRole.ADMIN, is_active=True)
    if [admin.pk for admin in admins.order_by("pk")] == [user.pk]:
        sentence = f"{user.email} is the last active platform admin; make somebody else one first."
        raise DomainError("last_platform_admin", sentence, status=409)


def _record(
    actor: Actor,
    verb: str,
    user: User,
    before: dict[str, object],
    after: dict[str, object],
    reason: str,
    now: datetime,
) -> None:
    audit_record(actor=actor, verb=verb, target=user, before=before, after=after, reason=reason, now=now)
