"""Rules that turn groups of the sign-in service into roles; they take effect at each person's next sign-in."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction

from portal.accounts.access import is_admin
from portal.accounts.choices import PlatformRole, TenantRole, TenantState
from portal.accounts.models import GroupRule, Tenant
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

MOST_RULES = 2000


@recorded()
def group_rule_add(
    *, actor: Actor, now: datetime, group: str, tenant: str = "", role: str = "", platform_role: str = ""
) -> GroupRule:
    """A new rule: a group gives ``role`` in the tenant of that slug, or (no tenant) ``platform_role``.

    Raises DomainError ``bad_rule``, ``rule_taken``, ``not_allowed``.
    """
    _only_admins(actor)
    group, place = group.strip(), None
    problems: dict[str, str] = {}
    if not 1 <= len(group) <= 200 or "\x00" in group:
        problems["group"] = (
            f"The group's name has 1 to 200 characters, as the sign-in service writes it; got {len(group)}."
        )
    if tenant:
        place = Tenant.objects.filter(slug=tenant[:63]).exclude(state=TenantState.OFFBOARDED).first()
        if place is None:
            problems["tenant"] = f"There is no tenant {tenant[:63]!r}."
        if role not in TenantRole.values:
            problems["role"] = "Choose the role that the group gives in the tenant."
    elif platform_role not in PlatformRole.values or platform_role == PlatformRole.NONE:
        problems["role"] = "Choose the platform role that the group gives, or a tenant."
    if problems:
        raise DomainError("bad_rule", " ".join(problems.values()), fields=problems)
    if GroupRule.objects.count() >= MOST_RULES:
        raise DomainError("too_many_rules", f"There are {MOST_RULES} rules, which is the most.", status=409)
    try:
        with transaction.atomic():
            row = GroupRule.objects.create(
                group=group,
                tenant=place,
                role=role if place else "",
                platform_role=PlatformRole.NONE if place else platform_role,
                created_at=now,
            )
    except IntegrityError:
        where = place.name if place else "the platform"
        sentence = f"There is a rule for the group {group!r} and {where} already; remove it first."
        raise DomainError("rule_taken", sentence, status=409, fields={"group": sentence}) from None
    audit_record(
        actor=actor, verb="group_rule_add", target=row, before={}, after=terms(row), reason="", now=now, tenant=place
    )
    return row


@recorded()
def group_rule_remove(*, actor: Actor, now: datetime, rule_id: int) -> GroupRule:
    """Ends a rule; who has the role keeps it until the next sign-in. Raises DomainError ``not_found``."""
    _only_admins(actor)
    row = GroupRule.objects.select_for_update(of=("self",)).select_related("tenant").filter(pk=rule_id).first()
    if row is None:
        raise DomainError("not_found", "That rule is gone already.", status=404)
    before, target = terms(row), GroupRule(pk=row.pk, group=row.group)
    row.delete()
    audit_record(
        actor=actor,
        verb="group_rule_remove",
        target=target,
        before=before,
        after={},
        reason="",
        now=now,
        tenant=row.tenant,
    )
    return row


def terms(row: GroupRule) -> dict[str, str]:
    """A rule in the words of :func:`group_rule_add`."""
    tenant = row.tenant.slug if row.tenant else ""
    platform = "" if row.tenant else str(row.platform_role)
    return {"group": row.group, "tenant": tenant, "role": row.role, "platform_role": platform}


def _only_admins(actor: Actor) -> None:
    if actor.user is not None and not is_admin(actor.user):
        raise DomainError("not_allowed", "Only a platform admin changes rules; ask one of them.", status=403)
