"""Rows of memberships and API keys; the whole deeds are in ``pools.services.tenants`` and ``keys``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_slug

from portal.accounts.changes import rights_changed
from portal.accounts.choices import Given, KeyKind, TenantRole, TenantState
from portal.accounts.models import ApiKey, Membership, Tenant, User
from portal.lib.errors import DomainError
from portal.lib.secrets import KEY_PREFIX, MANAGEMENT_PREFIX, key_digest, new_key, visible_part


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: ``plaintext`` exists only here and is shown once."""

    key: ApiKey
    plaintext: str


def slug_check(slug: str, what: str) -> None:
    """Raises DomainError ``bad_slug`` unless a slug is 1 to 63 letters, digits, hyphens or underscores."""
    try:
        validate_slug(slug)
    except ValidationError:
        slug_ok = False
    else:
        slug_ok = len(slug) <= 63
    if not slug_ok:
        sentence = f"The slug {slug!r} of the {what} must be 1 to 63 letters, digits, hyphens or underscores."
        raise DomainError("bad_slug", sentence, fields={"slug": sentence})


def membership_put(*, tenant: Tenant, user: User, role: str, now: datetime) -> tuple[Membership, str | None]:
    """Gives a person a role in a tenant, or changes it; returns the row and the role before (None: there was none).

    Whatever single sign-on gave and somebody changes here is hand-given from then on: the next sign-in leaves it alone.
    """
    if role not in TenantRole.values:
        sentence = f"The role is one of {', '.join(TenantRole.values)}, got {role!r}."
        raise DomainError("bad_role", sentence, fields={"role": sentence})
    member, made = Membership.objects.select_for_update(no_key=True).get_or_create(
        tenant=tenant, user=user, defaults={"role": role, "created_at": now}
    )
    before = None if made else member.role
    if before != role:
        rights_changed(user.pk)
    if member.role != role:
        _admin_stays(member)
        member.role, member.source = role, Given.HAND
        member.save(update_fields=["role", "source"])
    return member, before


def membership_drop(*, tenant: Tenant, user: User) -> str:
    """Ends a membership; returns the role it had. The last admin of a tenant stays."""
    member = Membership.objects.select_for_update(no_key=True).filter(tenant=tenant, user=user).first()
    if member is None:
        raise DomainError("not_found", f"{user.email} is not a member of {tenant.name}.", status=404)
    _admin_stays(member)
    role = member.role
    member.delete()
    rights_changed(user.pk)
    return role


def _admin_stays(member: Membership) -> None:
    if member.role != TenantRole.ADMIN:
        return
    others = Membership.objects.filter(tenant=member.tenant, role=TenantRole.ADMIN).exclude(pk=member.pk)
    if not others.exists():
        raise DomainError(
            "last_admin", "A tenant keeps at least one admin; make somebody else admin first.", status=409
        )


def key_insert(
    *,
    tenant: Tenant,
    name: str,
    now: datetime,
    by: User | None,
    kind: str = KeyKind.GATEWAY,
    expires_at: datetime | None = None,
    plaintext: str | None = None,
) -> NewKey:
    """A new key row and its plaintext. Raises DomainError when the tenant is not active or the fields are wrong."""
    problems: dict[str, str] = {}
    if not name.strip() or len(name) > 100:
        problems["name"] = f"A key has a name of 1 to 100 characters, got {len(name)}."
    if kind not in KeyKind.values:
        problems["kind"] = f"The kind is one of {', '.join(KeyKind.values)}, got {kind!r}."
    if expires_at is not None and expires_at <= now:
        problems["expires_at"] = f"The key would expire at {expires_at:%Y-%m-%d %H:%M} UTC, which is past."
    if problems:
        raise DomainError("bad_key", " ".join(problems.values()), fields=problems)
    if tenant.state != TenantState.ACTIVE:
        raise DomainError(
            "tenant_not_active", f"{tenant.name} is {tenant.state}; keys need an active tenant.", status=409
        )
    secret = plaintext or new_key(KEY_PREFIX if kind == KeyKind.GATEWAY else MANAGEMENT_PREFIX)
    key = ApiKey.objects.create(
        tenant=tenant,
        name=name.strip(),
        kind=kind,
        prefix=visible_part(secret),
        digest=key_digest(secret, settings.SECRET_KEY),
        created_at=now,
        created_by=by,
        expires_at=expires_at,
    )
    return NewKey(key, secret)


def key_end(*, key_id: int, now: datetime) -> tuple[ApiKey, bool]:
    """Marks a key revoked; returns it and whether this call did it (a second revocation changes nothing)."""
    key = ApiKey.objects.select_for_update(of=("self",), no_key=True).select_related("tenant").filter(pk=key_id).first()
    if key is None:
        raise DomainError("not_found", f"There is no API key {key_id}.", status=404)
    if key.revoked_at is not None:
        return key, False
    key.revoked_at = now
    key.save(update_fields=["revoked_at"])
    return key, True
