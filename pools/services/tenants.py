"""Tenants and memberships with their audit record: one deed, one function for page, API and command."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from portal.accounts import services as accounts
from portal.accounts.choices import TenantRole
from portal.accounts.models import Membership, Tenant, User
from portal.audit.services import Actor, audit_record


@transaction.atomic
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
    """A new tenant. Raises DomainError ``slug_taken``, ``bad_slug``, ``bad_email``, ``bad_currency``."""
    tenant = accounts.tenant_insert(slug=slug, name=name, now=now, contact_email=contact_email, currency=currency)
    after = {"slug": slug, "name": tenant.name, "currency": currency}
    audit_record(
        actor=actor, verb="tenant_create", target=tenant, before={}, after=after, reason=reason, now=now, tenant=tenant
    )
    return tenant


@transaction.atomic
def membership_set(
    *, actor: Actor, now: datetime, tenant: Tenant, user: User, role: str = TenantRole.VIEWER, reason: str = ""
) -> Membership:
    """Gives a person a role in a tenant or changes it. Raises DomainError ``bad_role``, ``last_admin``."""
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


@transaction.atomic
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
