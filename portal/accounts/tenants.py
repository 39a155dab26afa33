"""Rows of tenants: made, renamed, moved between states. The whole deeds are in ``pools.services.tenants``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from portal.accounts.choices import TenantState
from portal.accounts.models import Tenant
from portal.accounts.services import slug_check
from portal.lib.errors import DomainError

DETAILS = ("name", "contact_email", "currency")
MOST_LETTERS = 200


def details_of(tenant: Tenant) -> dict[str, str]:
    """What may be edited of a tenant: name, contact e-mail, currency."""
    return {name: getattr(tenant, name) for name in DETAILS}


def details_check(*, name: str, contact_email: str, currency: str) -> dict[str, str]:
    """The cleaned details. Raises DomainError ``bad_tenant`` with a sentence for every field that is wrong."""
    cleaned = {"name": name.strip(), "contact_email": contact_email.strip(), "currency": currency.strip()}
    problems: dict[str, str] = {}
    if not cleaned["name"] or len(cleaned["name"]) > MOST_LETTERS or "\x00" in cleaned["name"]:
        problems["name"] = f"A name has 1 to {MOST_LETTERS} characters, got {len(cleaned['name'])}."
    if cleaned["contact_email"]:
        try:
            validate_email(cleaned["contact_email"])
        except ValidationError:
            problems["contact_email"] = f"{cleaned['contact_email'][:100]!r} is not an e-mail address."
    code = cleaned["currency"]
    if len(code) != 3 or not (code.isascii() and code.isalpha() and code.isupper()):
        problems["currency"] = f"The currency is three capital letters such as EUR, got {code[:20]!r}."
    if problems:
        raise DomainError("bad_tenant", " ".join(problems.values()), fields=problems)
    return cleaned


def tenant_insert(*, slug: str, name: str, now: datetime, contact_email: str = "", currency: str = "EUR") -> Tenant:
    """A new tenant row. Raises DomainError ``bad_slug``, ``bad_tenant``, ``slug_taken``."""
    slug_check(slug, "tenant")
    details = details_check(name=name or slug, contact_email=contact_email, currency=currency)
    try:
        with transaction.atomic():
            return Tenant.objects.create(slug=slug, created_at=now, state_since=now, **details)
    except IntegrityError:
        sentence = f"There is a tenant {slug!r} already; choose another slug."
        raise DomainError("slug_taken", sentence, status=409, fields={"slug": sentence}) from None


def tenant_locked(tenant_id: int) -> Tenant:
    """The tenant, locked against a second deed at the same time. Raises DomainError ``not_found``."""
    tenant = Tenant.objects.select_for_update(no_key=True).filter(pk=tenant_id).first()
    if tenant is None:
        raise DomainError("not_found", f"There is no tenant {tenant_id}.", status=404)
    return tenant


def tenant_rewrite(tenant: Tenant, details: Mapping[str, str]) -> dict[str, str]:
    """Writes checked details on a locked row; returns what they were."""
    before = details_of(tenant)
    for name in DETAILS:
        setattr(tenant, name, details[name])
    tenant.save(update_fields=list(DETAILS))
    return before


def tenant_move(tenant: Tenant, state: TenantState, reason: str, now: datetime) -> None:
    """Writes a state, why and since when on a locked row."""
    tenant.state, tenant.state_reason, tenant.state_since = state, reason[:MOST_LETTERS], now
    tenant.save(update_fields=["state", "state_reason", "state_since"])


def tenant_active(tenant: Tenant, what: str) -> None:
    """Raises DomainError ``tenant_not_active`` unless the tenant is active now; ``what`` is what needs it."""
    state = Tenant.objects.filter(pk=tenant.pk).values_list("state", flat=True).first()  # the caller's row may be old
    if state == TenantState.ACTIVE:
        return
    step = "resume it first" if state == TenantState.SUSPENDED else "that cannot be taken back"
    raise DomainError(
        "tenant_not_active", f"{tenant.name} is {state}, and {what} needs an active tenant: {step}.", status=409
    )
