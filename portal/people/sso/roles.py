"""Roles follow groups at every sign-in: given, changed and taken away; what a person gave is never touched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from portal.accounts.access import ROLE_ORDER
from portal.accounts.changes import rights_changed
from portal.accounts.choices import PLATFORM_ORDER, Given, PlatformRole, TenantRole, TenantState
from portal.accounts.models import GroupRule, Membership, Tenant, User
from portal.audit.models import Source
from portal.audit.services import Actor, audit_record, recorded

ACTOR = Actor(None, Source.TASK, "single sign-on")
REASON = "Follows the groups of the sign-in service."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person's groups give: tenant id → role, and the platform role."""

    tenants: dict[int, str]
    platform: str

    def __bool__(self) -> bool:
        return bool(self.tenants) or self.platform != PlatformRole.NONE


def roles_wanted(groups: set[str]) -> Wanted:
    """The highest role of all rules that fit, for each tenant and for the platform."""
    tenants: dict[int, str] = {}
    platform = str(PlatformRole.NONE)
    rules = GroupRule.objects.filter(group__in=groups).exclude(tenant__state=TenantState.OFFBOARDED)
    for rule in rules:
        if rule.tenant_id is None:
            platform = max(platform, rule.platform_role, key=_platform_height)
        else:
            tenants[rule.tenant_id] = max(tenants.get(rule.tenant_id, rule.role), rule.role, key=_height)
    return Wanted(tenants, platform)


@recorded()
def roles_follow(*, now: datetime, user: User, groups: set[str]) -> Wanted:
    """Makes the person's roles from single sign-on be what the rules say of ``groups``; returns that."""
    wanted = roles_wanted(groups)
    user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    held = {row.tenant_id: row for row in Membership.objects.filter(user=user).select_related("tenant")}
    changed = _platform_follows(user, wanted.platform, now)
    for tenant_id, role in wanted.tenants.items():
        row = held.get(tenant_id)
        if row is None:
            row = Membership.objects.create(tenant_id=tenant_id, user=user, role=role, source=Given.SSO, created_at=now)
            _record("membership_set", user, {"role": None}, {"role": role, "groups": "sso"}, now, row.tenant)
            changed = True
        elif row.source == Given.SSO and row.role != role:
            before, row.role = row.role, role
            row.save(update_fields=["role"])
            _record("membership_set", user, {"role": before}, {"role": role, "groups": "sso"}, now, row.tenant)
            changed = True
    for tenant_id, row in held.items():
        if row.source == Given.SSO and tenant_id not in wanted.tenants:
            row.delete()
            _record("membership_end", user, {"role": row.role}, {}, now, row.tenant)
            changed = True
    if changed:
        rights_changed(user.pk)
    return wanted


def holds_anything(user: User) -> bool:
    """Whether a person has any role at all, whoever gave it."""
    fresh = User.objects.get(pk=user.pk)
    return fresh.reads_everything or Membership.objects.filter(user=user).exists()


def holds_from_sso(user: User) -> bool:
    """Whether any role of a person follows a group."""
    platform = user.platform_role_from == Given.SSO and user.platform_role != PlatformRole.NONE
    return platform or Membership.objects.filter(user=user, source=Given.SSO).exists()


def _platform_follows(user: User, wanted: str, now: datetime) -> bool:
    by_hand = user.platform_role_from == Given.HAND and user.platform_role != PlatformRole.NONE
    if by_hand or user.platform_role == wanted:
        return False
    before, user.platform_role = user.platform_role, wanted
    user.platform_role_from = Given.HAND if wanted == PlatformRole.NONE else Given.SSO
    user.save(update_fields=["platform_role", "platform_role_from"])
    _record("platform_role_set", user, {"platform_role": before}, {"platform_role": wanted, "groups": "sso"}, now)
    return True


def _record(
    verb: str,
    user: User,
    before: dict[str, str | None],
    after: dict[str, str],
    now: datetime,
    tenant: Tenant | None = None,
) -> None:
    audit_record(actor=ACTOR, verb=verb, target=user, before=before, after=after, reason=REASON, now=now, tenant=tenant)


def _height(role: str) -> int:
    return ROLE_ORDER.index(TenantRole(role))


def _platform_height(role: str) -> int:
    return PLATFORM_ORDER.index(PlatformRole(role))
