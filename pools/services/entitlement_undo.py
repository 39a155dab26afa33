"""Taking back the last deed on an entitlement, a move too: its audit record says how things were before."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pools.choices import EntitlementState
from pools.models import Entitlement, Tier
from pools.services.entitlements import (
    entitlement_change,
    entitlement_expire,
    entitlement_resume,
    entitlement_revive,
    entitlement_suspend,
    pools_locked_of,
    terms_of,
)
from portal.audit.models import AuditRecord
from portal.audit.services import Actor, recorded
from portal.lib.errors import DomainError

UNDOABLE = ("entitlement_create", "entitlement_change", "entitlement_suspend", "entitlement_resume")
OBJECT_TYPE = "pools.entitlement"
MOMENTS = ("valid_from", "valid_until")


def last_deed(entitlement_id: int) -> AuditRecord | None:
    """The latest record of a person's deed on an entitlement (the binder's own moves are not looked at). One query."""
    rows = AuditRecord.objects.filter(object_type=OBJECT_TYPE, object_id=str(entitlement_id), verb__in=UNDOABLE)
    return rows.order_by("-id").first()


@recorded()
def entitlement_undo(*, actor: Actor, now: datetime, entitlement_id: int, record_id: int) -> Entitlement:
    """Puts back what the record's deed changed: terms as they were, resumed, suspended, or ended if it was new.

    Only the last deed can be taken back. Raises DomainError ``not_found``, ``moved_on`` and whatever the opposite deed
    refuses.
    """
    record = last_deed(entitlement_id)
    row = Entitlement.objects.select_related("tier").filter(pk=entitlement_id).first()
    if record is None or row is None:
        raise DomainError("not_found", "There is nothing to be undone.", status=404)
    if record.pk != record_id:
        sentence = f"{row.slug} was changed again since ({record.actor_label}); undo that first."
        raise DomainError("moved_on", sentence, status=409)
    reason = f"Undo of what {record.actor_label} did at {record.at:%Y-%m-%d %H:%M} UTC."
    given: dict[str, Any] = {"actor": actor, "now": now, "entitlement_id": entitlement_id, "reason": reason}
    if record.verb == "entitlement_suspend":
        return entitlement_resume(**given)
    if record.verb == "entitlement_resume":
        return entitlement_suspend(**given)
    if record.verb == "entitlement_create":
        return entitlement_expire(**given)
    return entitlement_change(**given, changes=_before(row, record)).entitlement


@recorded()
def entitlement_move_back(
    *, actor: Actor, now: datetime, entitlement_id: int, moved_id: int, reason: str = ""
) -> Entitlement:
    """Takes a move back: the entitlement ``moved_id`` it made in the other pool ends, the one it ended lives again with
    its terms, its history and its debt, bound as soon as it fits.

    Raises DomainError ``not_found``, ``moved_on`` when either was changed since, and as ``entitlement_revive``.
    """
    rows = Entitlement.objects.select_related("pool").in_bulk([entitlement_id, moved_id])
    if len(rows) != 2:
        raise DomainError("not_found", "There is no such move.", status=404)
    old, new = rows[entitlement_id], rows[moved_id]
    pools_locked_of(old.pk, new.pool_id)
    ended = AuditRecord.objects.filter(object_type=OBJECT_TYPE, object_id=str(old.pk)).order_by("-id").first()
    deed = last_deed(new.pk)
    if ended is None or ended.verb != "entitlement_expire" or ended.at != new.created_at:
        raise DomainError("moved_on", f"{old.slug} was not ended by that move, or lives again already.", status=409)
    if deed is None or deed.verb != "entitlement_create" or new.state == EntitlementState.EXPIRED:
        what = "has ended" if new.state == EntitlementState.EXPIRED else "was changed"
        raise DomainError("moved_on", f"{new.slug} {what} since it was moved to {new.pool.name}.", status=409)
    why = f"Move taken back. {reason}".strip()
    until = new.valid_until
    entitlement_expire(actor=actor, now=now, entitlement_id=new.pk, reason=why)
    suspended = ended.before.get("state") == EntitlementState.SUSPENDED
    return entitlement_revive(
        actor=actor, now=now, entitlement_id=old.pk, suspended=suspended, valid_until=until, reason=why
    )


def _before(row: Entitlement, record: AuditRecord) -> dict[str, Any]:
    """The terms that the change replaced. Raises ``moved_on`` where they are no longer what it made of them."""
    changed = {name: value for name, value in record.before.items() if record.after.get(name) != value}
    present = terms_of(row)
    for name in changed:
        if _text(present.get(name)) != _text(_moment(name, record.after.get(name))):
            raise DomainError("moved_on", f"{row.slug} was changed again since: {name} moved on.", status=409)
    found: dict[str, Any] = {name: _moment(name, value) for name, value in changed.items()}
    if "tier" in found:
        found["tier"] = Tier.objects.select_related("current").get(slug=found["tier"])
    return found


def _moment(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if name in MOMENTS and value else value


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
