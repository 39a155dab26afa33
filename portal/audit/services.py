"""The only writer of audit records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from portal.accounts.models import Tenant, User
from portal.audit.chain import record_hash, storable
from portal.audit.models import AuditRecord, Source
from portal.lib.copying import copy_models

CHAIN_LOCK = 0x746F6B70  # advisory lock: one record joins the chain at a time


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does a deed and through which door."""

    user: User | None
    source: Source
    label: str = ""

    @property
    def name(self) -> str:
        """What the record calls the actor."""
        return self.label or (self.user.email if self.user else str(self.source))


SYSTEM = Actor(None, Source.TASK, "system")


def audit_record(
    *,
    actor: Actor,
    verb: str,
    target: Any,
    before: dict[str, Any],
    after: dict[str, Any],
    reason: str,
    now: datetime,
    tenant: Tenant | None = None,
) -> AuditRecord:
    """Append one record in the caller's transaction, so that a change and its record stand or fall together."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CHAIN_LOCK])
        last = AuditRecord.objects.order_by("-id").values_list("hash", flat=True).first() or ""
        record = AuditRecord(
            at=now.astimezone(UTC),
            actor=actor.user,
            actor_label=actor.name[:254],
            source=actor.source,
            verb=verb,
            object_type=target._meta.label_lower,
            object_id=str(target.pk),
            object_label=str(target)[:254],
            tenant=tenant,
            before=_document(before),
            after=_document(after),
            reason=reason,
            previous_hash=last,
        )
        record.hash = record_hash(last, content_of(record))
        record.save(force_insert=True)
    return record


@transaction.atomic
def audit_import(rows: Iterable[AuditRecord]) -> int:
    """Appends many records that were made elsewhere, in their order, in one go: each is chained to the one before it
    and written by COPY. Give them without hashes. Returns how many."""
    records = list(rows)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CHAIN_LOCK])
    last = AuditRecord.objects.order_by("-id").values_list("hash", flat=True).first() or ""
    for record in records:
        record.at, record.before, record.after = (
            record.at.astimezone(UTC),
            *map(_document, (record.before, record.after)),
        )
        record.previous_hash, record.hash = last, record_hash(last, content_of(record))
        last = record.hash
    return copy_models(records)


def _document(values: dict[str, Any]) -> Any:
    return storable(json.loads(json.dumps(values, default=str)))


def content_of(record: AuditRecord) -> dict[str, Any]:
    """The hashed part of a record: everything but its own id and hash."""
    return {
        "at": record.at.isoformat(),
        "actor": record.actor_label,
        "source": str(record.source),
        "verb": record.verb,
        "object": [record.object_type, record.object_id, record.object_label],
        "tenant": record.tenant_id,
        "before": record.before,
        "after": record.after,
        "reason": record.reason,
    }
