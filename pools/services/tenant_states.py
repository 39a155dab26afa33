"""Suspend and resume a tenant: its keys, its entitlements and, where asked, what runs; at every gateway at once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from pools.choices import EntitlementState
from pools.models import Entitlement
from pools.services.documents import keys_republish
from pools.services.inflight import inflight_end
from pools.services.tenant_entitlements import (
    entitlements_locked,
    entitlements_move,
    entitlements_publish,
    entitlements_that_fit,
)
from portal.accounts.choices import TenantState
from portal.accounts.models import Tenant
from portal.accounts.tenants import tenant_locked, tenant_move
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

IDLE = (EntitlementState.SUSPENDED.value, EntitlementState.EXPIRED.value)


@dataclass(frozen=True, slots=True)
class Resumed:
    """A tenant that may send again; ``stayed`` are entitlements that could not be resumed, with the reason."""

    tenant: Tenant
    resumed: int
    stayed: tuple[tuple[str, str], ...]


@recorded()
def tenant_suspend(*, actor: Actor, now: datetime, tenant_id: int, reason: str, end_running: bool = False) -> Tenant:
    """Refuses every request of a tenant from the commit on; its promises no longer hold capacity.

    Keys stay and say why they are refused; with ``end_running`` what runs is cut, else it ends by itself.
    Raises DomainError ``not_found``, ``not_active``, ``reason_missing``.
    """
    tenant = tenant_locked(tenant_id)
    if tenant.state != TenantState.ACTIVE:
        raise DomainError("not_active", f"{tenant.name} is {tenant.state} already.", status=409)
    if not reason.strip():
        sentence = "Give a reason: the tenant's people read it."
        raise DomainError("reason_missing", sentence, fields={"reason": sentence})
    tenant_move(tenant, TenantState.SUSPENDED, reason.strip(), now)
    rows = entitlements_locked(Entitlement.objects.filter(tenant=tenant).exclude(state__in=IDLE))
    why = f"Its tenant is suspended: {reason.strip()}"
    entitlements_move(actor, now, rows, EntitlementState.SUSPENDED, why, "entitlement_suspend")
    Entitlement.objects.filter(pk__in=[row.pk for row in rows]).update(suspended_with_tenant=True)
    _record(actor, now, "tenant_suspend", tenant, TenantState.ACTIVE, {"entitlements": len(rows)}, reason)
    running = entitlements_by_pool(tenant.pk) if end_running else {}
    # Keys first: that alone closes every gateway, whatever is still being told about the entitlements.
    transaction.on_commit(lambda: keys_republish(tenant.pk, now), robust=True)
    transaction.on_commit(lambda: entitlements_publish(rows), robust=True)
    transaction.on_commit(lambda: inflight_end(running), robust=True)
    return tenant


@recorded()
def tenant_resume(*, actor: Actor, now: datetime, tenant_id: int, reason: str = "") -> Resumed:
    """Lets a suspended tenant send again and resumes what was suspended with it.

    An entitlement whose promise no longer fits stays suspended and is named. Raises DomainError ``not_found``,
    ``not_suspended``.
    """
    tenant = tenant_locked(tenant_id)
    if tenant.state != TenantState.SUSPENDED:
        raise DomainError("not_suspended", f"{tenant.name} is {tenant.state}, not suspended.", status=409)
    tenant_move(tenant, TenantState.ACTIVE, "", now)
    own = Entitlement.objects.filter(tenant=tenant, suspended_with_tenant=True)
    found = entitlements_locked(own.filter(state=EntitlementState.SUSPENDED.value))
    fits, stayed = entitlements_that_fit(found, now)
    own.update(suspended_with_tenant=False)
    entitlements_move(actor, now, fits, EntitlementState.PENDING, "Its tenant is resumed.", "entitlement_resume")
    after = {"entitlements": len(fits), "stayed": [slug for slug, _ in stayed]}
    _record(actor, now, "tenant_resume", tenant, TenantState.SUSPENDED, after, reason)
    transaction.on_commit(lambda: entitlements_publish(fits), robust=True)
    transaction.on_commit(lambda: keys_republish(tenant.pk, now), robust=True)
    return Resumed(tenant, len(fits), tuple(stayed))


def entitlements_by_pool(tenant_id: int) -> dict[int, set[int]]:
    """Pool id → ids of the tenant's entitlements that have not expired."""
    found: defaultdict[int, set[int]] = defaultdict(set)
    living = Entitlement.objects.filter(tenant_id=tenant_id).exclude(state=EntitlementState.EXPIRED.value)
    for pool_id, entitlement_id in living.values_list("pool_id", "pk"):
        found[pool_id].add(entitlement_id)
    return dict(found)


def _record(
    actor: Actor, now: datetime, verb: str, tenant: Tenant, before: str, after: dict[str, object], reason: str
) -> None:
    audit_record(
        actor=actor,
        verb=verb,
        target=tenant,
        before={"state": str(before)},
        after={"state": str(tenant.state), **after},
        reason=reason,
        now=now,
        tenant=tenant,
    )
