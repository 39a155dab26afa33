"""Onboard a tenant in one go: the tenant, its first admin's invitation, an entitlement, a key. All of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from pools.mechanism.amounts import Rate
from pools.models import Pool, Tier
from pools.services.entitlements import EntitlementResult, entitlement_create
from pools.services.keys import key_create
from pools.services.tenants import tenant_create
from portal.accounts.choices import TenantRole
from portal.accounts.models import Tenant
from portal.accounts.services import NewKey
from portal.audit.services import Actor, recorded
from portal.lib.errors import DomainError
from portal.people.invitations import NewInvitation, invitation_create

Caps = tuple[int | None, int | None, int | None]
REASON = "Onboarded."


@dataclass(frozen=True, slots=True)
class FirstPromise:
    """The entitlement: ``base`` and ``cap`` are (tokens/s, KV bytes, sequences)."""

    pool: Pool
    tier: Tier
    base: Rate
    cap: Caps = (None, None, None)
    valid_from: datetime | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class FirstKey:
    """A gateway key."""

    name: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Onboarding:
    """Everything that shall be made. An empty ``admin_email``, no promise or no key: that part is left for later."""

    slug: str
    name: str
    contact_email: str = ""
    currency: str = "EUR"
    admin_email: str = ""
    promise: FirstPromise | None = None
    key: FirstKey | None = None


@dataclass(frozen=True, slots=True)
class Onboarded:
    """What was made. The key's plaintext and the invitation's link exist only here."""

    tenant: Tenant
    invitation: NewInvitation | None
    promise: EntitlementResult | None
    key: NewKey | None


@recorded()
def tenant_onboard(*, actor: Actor, now: datetime, plan: Onboarding) -> Onboarded:
    """Makes all of a plan. A part that is refused raises its own DomainError, and nothing at all was made.

    ``fields`` of the error are named after the part: ``tenant.slug``, ``admin.email``, ``promise.pool``, ``key.name``.
    """
    with _part("tenant"):
        tenant = tenant_create(
            actor=actor,
            now=now,
            slug=plan.slug,
            name=plan.name,
            contact_email=plan.contact_email,
            currency=plan.currency,
            reason=REASON,
        )
    invitation = promise = key = None
    if plan.admin_email:
        with _part("admin"):
            invitation = invitation_create(
                actor=actor, now=now, email=plan.admin_email, tenant=tenant, role=TenantRole.ADMIN, reason=REASON
            )
    if plan.promise is not None:
        first = plan.promise
        with _part("promise"):
            promise = entitlement_create(
                actor=actor,
                now=now,
                tenant=tenant,
                pool=first.pool,
                tier=first.tier,
                base=first.base,
                cap=first.cap,
                valid_from=first.valid_from,
                valid_until=first.valid_until,
                reason=REASON,
            )
    if plan.key is not None:
        with _part("key"):
            key = key_create(
                actor=actor, now=now, tenant=tenant, name=plan.key.name, expires_at=plan.key.expires_at, reason=REASON
            )
    return Onboarded(tenant, invitation, promise, key)


@contextmanager
def _part(name: str) -> Iterator[None]:
    """Errors inside name their fields after the part they belong to."""
    try:
        yield
    except DomainError as error:
        fields = {f"{name}.{field}": sentence for field, sentence in error.fields.items()} or {name: error.sentence}
        raise DomainError(error.code, error.sentence, status=error.status, fields=fields) from error
