"""Offboard a tenant for good: keys, entitlements, open requests and memberships end; every record of it stays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from pools.choices import EntitlementState
from pools.models import Entitlement, EntitlementRequest
from pools.models.requests import RequestState
from pools.services.documents import key_forget
from pools.services.inflight import inflight_end
from pools.services.keys import key_revoke
from pools.services.requests import request_withdraw
from pools.services.tenant_entitlements import entitlements_locked, entitlements_move, entitlements_publish
from pools.services.tenant_states import entitlements_by_pool
from portal.accounts.choices import TenantState
from portal.accounts.models import ApiKey, Membership, Tenant
from portal.accounts.tenants import tenant_locked, tenant_move
from portal.audit.models import AuditRecord
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError
from portal.people.invitations import invitation_list, invitation_revoke

EXPORT = "tenant_export"


@dataclass(frozen=True, slots=True)
class Offboarded:
    """What ended."""

    tenant: Tenant
    keys: int
    entitlements: int
    people: int
    requests: int
    invitations: int

    @property
    def counts(self) -> dict[str, int]:
        """How many of each."""
        names = ("keys", "entitlements", "people", "requests", "invitations")
        return {name: getattr(self, name) for name in names}

    @property
    def words(self) -> str:
        """What ended, for people: "2 keys, 1 entitlement"; empty when there was nothing."""
        one = {"keys": "key", "entitlements": "entitlement", "people": "person", "requests": "request"}
        found = [(count, name) for name, count in self.counts.items() if count]
        return ", ".join(f"{count} {one.get(name, 'invitation') if count == 1 else name}" for count, name in found)


@recorded()
def tenant_offboard(
    *,
    actor: Actor,
    now: datetime,
    tenant_id: int,
    confirm: str,
    reason: str,
    without_export: bool = False,
) -> Offboarded:
    """Ends a tenant; this cannot be taken back. Usage, ledger, entitlements and audit stay as they are.

    ``confirm`` is its slug, typed; ``without_export`` goes on although nobody took its data. All or nothing. Raises
    DomainError ``not_found``, ``tenant_gone``, ``not_confirmed``, ``reason_missing``, ``not_exported``.
    """
    tenant = tenant_locked(tenant_id)
    if tenant.state == TenantState.OFFBOARDED:
        raise DomainError("tenant_gone", f"{tenant.name} is offboarded already.", status=409)
    _check(tenant, confirm, reason, without_export)
    before, running = tenant.state, entitlements_by_pool(tenant.pk)
    why = f"Its tenant is offboarded: {reason.strip()}"
    ending = entitlements_locked(
        Entitlement.objects.filter(tenant=tenant).exclude(state=EntitlementState.EXPIRED.value)
    )
    entitlements_move(actor, now, ending, EntitlementState.EXPIRED, why, "entitlement_expire")
    asked = list(EntitlementRequest.objects.filter(tenant=tenant, state=RequestState.OPEN).values_list("pk", flat=True))
    for request_id in asked:
        request_withdraw(actor=actor, now=now, request_id=request_id)
    keys = list(ApiKey.objects.filter(tenant=tenant, revoked_at__isnull=True).order_by("pk"))
    for key in keys:
        key_revoke(actor=actor, now=now, key_id=key.pk, reason=why)
    people = _memberships_end(actor, now, tenant, why)
    invited = invitation_list(tenant, now)
    for invitation in invited:
        invitation_revoke(actor=actor, now=now, invitation_id=invitation.pk, tenant=tenant, reason=why)
    tenant_move(tenant, TenantState.OFFBOARDED, reason.strip(), now)
    done = Offboarded(tenant, len(keys), len(ending), people, len(asked), len(invited))
    audit_record(
        actor=actor,
        verb="tenant_offboard",
        target=tenant,
        before={"state": str(before)},
        after={"state": str(tenant.state), "ended": done.counts},
        reason=reason,
        now=now,
        tenant=tenant,
    )
    transaction.on_commit(lambda: key_forget([key.digest for key in keys]), robust=True)
    transaction.on_commit(lambda: entitlements_publish(ending), robust=True)
    transaction.on_commit(lambda: inflight_end(running), robust=True)
    return done


def export_last(tenant: Tenant) -> AuditRecord | None:
    """When a tenant's data was last taken out, and by whom."""
    return AuditRecord.objects.filter(tenant=tenant, verb=EXPORT).order_by("-pk").first()


def export_note(*, actor: Actor, now: datetime, tenant: Tenant) -> AuditRecord:
    """Writes down that somebody takes a tenant's data out."""
    return audit_record(actor=actor, verb=EXPORT, target=tenant, before={}, after={}, reason="", now=now, tenant=tenant)


def _check(tenant: Tenant, confirm: str, reason: str, without_export: bool) -> None:
    problems = {}
    if confirm.strip() != tenant.slug:
        problems["confirm"] = f"Type {tenant.slug} to offboard it, got {confirm.strip()[:63]!r}."
    if not reason.strip():
        problems["reason"] = "Give a reason: it stays in the history."
    if not without_export and export_last(tenant) is None:
        problems["without_export"] = "Nobody has taken an export yet: download it first, or say that none is needed."
    codes = {"confirm": "not_confirmed", "reason": "reason_missing", "without_export": "not_exported"}
    if problems:
        raise DomainError(codes[next(iter(problems))], " ".join(problems.values()), fields=problems)


def _memberships_end(actor: Actor, now: datetime, tenant: Tenant, reason: str) -> int:
    """Takes everybody out, the last admin as well: there is nothing left to administer."""
    members = list(Membership.objects.select_for_update(no_key=True).filter(tenant=tenant).select_related("user"))
    for member in members:
        audit_record(
            actor=actor,
            verb="membership_end",
            target=member.user,
            before={"role": member.role},
            after={},
            reason=reason,
            now=now,
            tenant=tenant,
        )
    Membership.objects.filter(pk__in=[member.pk for member in members]).delete()
    return len(members)
