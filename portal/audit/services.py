"""The only writer of audit records, and the block in which a deed and its record are one.

A record joins a chain, so whoever appends holds a lock that every other deed waits for. Were it taken in the middle of
a deed, two deeds could each hold what the other waits for. So inside :func:`recorded` records are only noted; they are
written at its end, when nothing more will be locked, all in one go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from portal.accounts.models import Tenant, User
from portal.audit.chain import record_hash, storable
from portal.audit.models import AuditRecord, Source
from portal.lib.copying import copy_models

_LAST = """
SELECT coalesce((SELECT hash FROM audit_audithead), (SELECT hash FROM audit_auditrecord ORDER BY id DESC LIMIT 1), '')
"""
CHAIN_LOCK = 0x746F6B70  # advisory lock: one deed's records join the chain at a time


@dataclass(slots=True)
class _Deed:
    """The records of the outermost deed so far, and how deep in savepoints the innermost one began."""

    records: list[AuditRecord]
    depth: int


_current: ContextVar[_Deed | None] = ContextVar("audit_deed", default=None)


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
    """One record in the caller's transaction, so that a change and its record stand or fall together.

    Inside a :func:`recorded` it has an id once the outermost deed is done; elsewhere it is written at once.
    """
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
    )
    current = _current.get()
    if current is not None and current.depth == len(connection.savepoint_ids):
        current.records.append(record)
    else:  # no deed, or a savepoint inside one that may yet be rolled back without it
        audit_append([record])
    return record


@contextmanager
def recorded() -> Iterator[None]:
    """A transaction for a deed and its records; use it as a decorator or in a ``with``. Deeds nest: an inner one that
    fails takes its own records with it, the outermost one writes what is left."""
    outer = _current.get()
    mine: list[AuditRecord] = []
    with transaction.atomic():
        token = _current.set(_Deed(mine, len(connection.savepoint_ids)))
        try:
            yield
        finally:
            _current.reset(token)
        if outer is None:
            audit_append(mine)
    if outer is not None:
        outer.records.extend(mine)


@transaction.atomic
def audit_append(records: Sequence[AuditRecord]) -> None:
    """Chains records, in their order, to the last one and writes them: three statements, whatever their number. The
    last one is the head, not what happens to be last in the table: were the end cut off, the gap would stay. Triggers
    move the head along (``AuditHead``)."""
    if not records:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CHAIN_LOCK])
        cursor.execute(_LAST)
        (last,) = cursor.fetchone() or ("",)
    for record in records:
        record.previous_hash = last
        last = record.hash = record_hash(last, content_of(record))
    if len(records) == 1:
        records[0].save(force_insert=True)
    else:
        copy_models(records)


def audit_import(rows: Iterable[AuditRecord]) -> int:
    """Appends many records that were made elsewhere, without hashes, in their order. Returns how many."""
    records = list(rows)
    for record in records:
        record.at = record.at.astimezone(UTC)
        record.before, record.after = _document(record.before), _document(record.after)
    audit_append(records)
    return len(records)


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
