"""Taking a deed on a pool back: only the latest of its kind, so that nobody's later work is lost with it."""

from __future__ import annotations

from datetime import datetime

from pools.models import Pool
from pools.services.ceiling import ceiling_check
from pools.services.overrides import manual_write
from pools.services.pool_rows import PoolDeed, pool_locked
from pools.services.pools import pool_archive, pool_change, pool_restore
from portal.audit.models import AuditRecord
from portal.audit.services import Actor, recorded
from portal.lib.errors import DomainError

OBJECT = "pools.pool"
KINDS = ("pool_create", "pool_change", "pool_set_replicas", "pool_archive")


@recorded()
def pool_undo(*, actor: Actor, now: datetime, pool_id: int, record_id: int) -> PoolDeed:
    """Takes back the deed of an audit record: a change of settings, an override, archiving; a new pool is archived.

    Raises DomainError ``not_found``, ``undo_late`` when something newer of the same kind happened since, and whatever
    the deed itself raises.
    """
    record = AuditRecord.objects.filter(pk=record_id, object_type=OBJECT, object_id=str(pool_id)).first()
    if record is None or record.verb not in KINDS:
        raise DomainError("not_found", "There is nothing of that kind to take back.", status=404)
    newer = AuditRecord.objects.filter(
        object_type=OBJECT, object_id=str(pool_id), verb=record.verb, pk__gt=record.pk
    ).first()
    if newer is not None:
        raise DomainError(
            "undo_late",
            f"{newer.actor_label} changed {record.object_label} once more at {newer.at:%H:%M} UTC, so this cannot be "
            "taken back by itself; change it again instead.",
            status=409,
        )
    reason = f"Taken back: {record.verb.replace('_', ' ')} #{record.pk}."
    if record.verb == "pool_create":
        return pool_archive(actor=actor, now=now, pool_id=pool_id, reason=reason)
    if record.verb == "pool_archive":
        return pool_restore(actor=actor, now=now, pool_id=pool_id, reason=reason)
    if record.verb == "pool_change":
        return pool_change(actor=actor, now=now, pool_id=pool_id, changes=record.before, reason=reason)
    return _manual_back(actor, now, pool_locked(pool_id), record, reason)


def _manual_back(actor: Actor, now: datetime, pool: Pool, record: AuditRecord, reason: str) -> PoolDeed:
    """The override that stood before, unless it has ended meanwhile; without one, the wish of before."""
    before = record.before
    until = datetime.fromisoformat(before["manual_until"]) if before.get("manual_until") else None
    replicas = before.get("manual_replicas")
    if until is not None and until <= now:
        replicas = None
    wanted = int(replicas if replicas is not None else before.get("wanted_replicas", pool.wanted_replicas))
    each = pool.accelerators_per_replica
    ceiling_check(pool.name, pool.wanted_replicas * each, wanted * each, "replicas")
    if replicas is None:
        pool.wanted_replicas = wanted
        return manual_write(actor, now, pool, None, None, reason, "")
    return manual_write(
        actor, now, pool, replicas, until, str(before.get("manual_reason") or reason), before.get("manual_by", "")
    )
