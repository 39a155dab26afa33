"""Tenants and memberships with their audit record: one deed, one function for page, API and command."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from portal.accounts import services as accounts
from portal.accounts import tenants as rows
from portal.accounts.choices import TenantRole, TenantState
from portal.accounts.models import Membership, Tenant, User
from portal.audit.models import AuditRecord
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

CHANGE = "tenant_change"
MEMBERSHIP = ("membership_set", "membership_end")
UNDONE_WITHIN = timedelta(days=1)


@recorded()
def tenant_create(
    *,
    actor: Actor,
    now: datetime,
    slug: str,
    name: str,
    contact_email: str = "",
    currency: str = "EUR",
    reason: str = "",
) -> Tenant:
    """A new tenant. Raises DomainError ``slug_taken``, ``bad_slug``, ``bad_tenant``."""
    tenant = rows.tenant_insert(slug=slug, name=name, now=now, contact_email=contact_email, currency=currency)
    after = {"slug": slug, **rows.details_of(tenant)}
    audit_record(
        actor=actor, verb="tenant_create", target=tenant, before={}, after=after, reason=reason, now=now, tenant=tenant
    )
    return tenant


@recorded()
def tenant_change(
    *,
    actor: Actor,
    now: datetime,
    tenant_id: int,
    name: str,
    contact_email: str,
    currency: str,
    seen: Mapping[str, str] | None = None,
    reason: str = "",
) -> AuditRecord | None:
    """Edits a tenant's details; the record of it (:func:`tenant_change_undo` takes it), None when nothing changed.

    ``seen`` is what the editor started from. Raises DomainError ``bad_tenant``, ``tenant_moved`` when somebody else
    changed it meanwhile, ``tenant_gone`` when it is offboarded.
    """
    details = rows.details_check(name=name, contact_email=contact_email, currency=currency)
    tenant = _changeable(tenant_id)
    before = rows.details_of(tenant)
    if seen is not None and dict(seen) != before:
        theirs = {name: value for name, value in before.items() if seen.get(name) != value}
        shown = ", ".join(f"{name.replace('_', ' ')} is now {value or 'empty'}" for name, value in theirs.items())
        sentence = (
            f"{before['name']} was changed by somebody else while you edited it: {shown}. Look at it, save again."
        )
        raise DomainError("tenant_moved", sentence, status=409)
    if before == details:
        return None
    rows.tenant_rewrite(tenant, details)
    return audit_record(
        actor=actor, verb=CHANGE, target=tenant, before=before, after=details, reason=reason, now=now, tenant=tenant
    )


@recorded()
def tenant_change_undo(*, actor: Actor, now: datetime, tenant_id: int, record_id: int) -> Tenant:
    """Puts the details back to what they were before one change.

    Raises DomainError ``not_found`` and, when they were changed again since, ``tenant_moved``.
    """
    tenant = _changeable(tenant_id)
    record = AuditRecord.objects.filter(pk=record_id, verb=CHANGE, tenant=tenant).first()
    if record is None:
        raise DomainError("not_found", f"There is no change {record_id} of {tenant.name}.", status=404)
    if rows.details_of(tenant) != record.after:
        sentence = f"{tenant.name} was changed again since; edit it instead of undoing the older change."
        raise DomainError("tenant_moved", sentence, status=409)
    before = rows.tenant_rewrite(tenant, record.before)
    audit_record(
        actor=actor,
        verb=CHANGE,
        target=tenant,
        before=before,
        after=record.before,
        reason="Undone.",
        now=now,
        tenant=tenant,
    )
    return tenant


def _changeable(tenant_id: int) -> Tenant:
    tenant = rows.tenant_locked(tenant_id)
    if tenant.state == TenantState.OFFBOARDED:
        raise DomainError("tenant_gone", f"{tenant.name} is offboarded; its history does not change.", status=409)
    return tenant


@recorded()
def membership_set(
    *, actor: Actor, now: datetime, tenant: Tenant, user: User, role: str = TenantRole.VIEWER, reason: str = ""
) -> Membership:
    """Gives a person a role in a tenant or changes it. Raises DomainError ``bad_role``, ``last_admin``,
    ``tenant_gone``."""
    if tenant.state == TenantState.OFFBOARDED:
        raise DomainError("tenant_gone", f"{tenant.name} is offboarded; nobody joins it any more.", status=409)
    member, before = accounts.membership_put(tenant=tenant, user=user, role=role, now=now)
    if before != role:
        audit_record(
            actor=actor,
            verb="membership_set",
            target=user,
            before={"role": before},
            after={"role": role},
            reason=reason,
            now=now,
            tenant=tenant,
        )
    return member


@recorded()
def membership_end(*, actor: Actor, now: datetime, tenant: Tenant, user: User, reason: str = "") -> None:
    """Takes a person out of a tenant. Raises DomainError ``not_found``, ``last_admin``."""
    role = accounts.membership_drop(tenant=tenant, user=user)
    audit_record(
        actor=actor,
        verb="membership_end",
        target=user,
        before={"role": role},
        after={},
        reason=reason,
        now=now,
        tenant=tenant,
    )


def membership_record(tenant: Tenant, user: User) -> AuditRecord | None:
    """The latest change of a person's role in a tenant; :func:`membership_undo` takes it back."""
    rows = AuditRecord.objects.filter(tenant=tenant, object_type="accounts.user", object_id=str(user.pk))
    return rows.filter(verb__in=MEMBERSHIP).order_by("-pk").first()


@recorded()
def membership_undo(*, actor: Actor, now: datetime, tenant: Tenant, record_id: int) -> tuple[User, str]:
    """Takes the latest change of somebody's role back within a day; the person and the role they have again ("" none).

    Raises DomainError ``not_found``, ``membership_moved`` (changed again since), ``too_late``, ``last_admin``.
    """
    record = AuditRecord.objects.filter(pk=record_id, tenant=tenant, verb__in=MEMBERSHIP).first()
    user = User.objects.filter(pk=int(record.object_id)).first() if record is not None else None
    if record is None or user is None:
        raise DomainError("not_found", f"There is no such change in {tenant.name}.", status=404)
    latest = membership_record(tenant, user)
    if latest is None or latest.pk != record.pk:
        sentence = f"The role of {user.email} was changed again since; change it on the members page."
        raise DomainError("membership_moved", sentence, status=409)
    if now - record.at > UNDONE_WITHIN:
        raise DomainError("too_late", f"That was more than a day ago; invite {user.email} again.", status=409)
    role = str(record.before.get("role") or "")
    if role:
        membership_set(actor=actor, now=now, tenant=tenant, user=user, role=role, reason="Undone.")
    else:
        membership_end(actor=actor, now=now, tenant=tenant, user=user, reason="Undone.")
    return user, role
