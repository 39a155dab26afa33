"""Verification of the chain in slices of bounded memory: by a command from end to end, by a task bit by bit each night.

The chain alone cannot tell that its newest records were cut off, or that all of it was written anew. So each pass also
asks whether it ends at the head that is kept beside it, and whether the heads of the last good passes still stand where
they stood: who sets back the head as well is caught by those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from portal.audit.chain import Break, BreakKind, Head, Link, follow, judged, judged_end
from portal.audit.models import AuditCheck, AuditRecord
from portal.audit.services import content_of

SLICE = 2000
EVERY = timedelta(hours=20)
"""A pass begins when the last one is this old: nightly, whatever the hour of the installation's last restart."""


_END = """
SELECT head.record_id, head.hash, head.count,
    (SELECT hash FROM audit_auditrecord WHERE id = head.record_id),
    coalesce((SELECT max(id) FROM audit_auditrecord), 0),
    (SELECT min(id) FROM audit_auditrecord WHERE id > head.record_id)
FROM (SELECT 1) AS one LEFT JOIN audit_audithead AS head ON true
"""


def chain_size() -> int:
    """How many records there are."""
    return AuditRecord.objects.count()


def chain_slice(head: Head, size: int = SLICE) -> tuple[Head, Break | None, bool]:
    """Follows up to ``size`` records after the head: the new head, the break if there is one, whether there is more."""
    links = list(_links(head.record_id, size))
    after, torn = follow(head, links)
    if torn is None:
        return after, None, len(links) == size
    rows = AuditRecord.objects.order_by("id").values_list("id", flat=True)
    named = rows.filter(hash=torn.link.previous_hash).first() if torn.link.previous_hash else None
    follower = rows.filter(previous_hash=after.hash, id__gt=torn.link.record_id).first()
    return after, judged(after, torn, named, follower), False


def _links(after_id: int, size: int) -> Iterator[Link]:
    rows = AuditRecord.objects.filter(id__gt=after_id).order_by("id")[:size]
    for row in rows.iterator(chunk_size=size):
        yield Link(row.pk, row.previous_hash, row.hash, content_of(row))


def end_break() -> Break | None:
    """Whether the chain ends at its head; in one statement, so that appends meanwhile do no harm."""
    with connection.cursor() as cursor:
        cursor.execute(_END)
        row: tuple[Any, ...] = cursor.fetchone() or (None, "", 0, None, 0, None)
    record, digest, count, held, last, beyond = row
    head = None if record is None else Head(record, digest, count)
    total = chain_size() if head is not None and head.record_id > last else 0
    return judged_end(head, held, last, beyond, total)


def anchor_break(anchor: Head) -> Break | None:
    """Whether a head that was good before still stands: the only sign of a cut or of a chain written wholly anew."""
    if not anchor.record_id:
        return None
    held = AuditRecord.objects.filter(pk=anchor.record_id).values_list("hash", flat=True).first()
    if held == anchor.hash:
        return None
    if held is None:
        sentence = f"Record #{anchor.record_id} was there when the chain was verified before, and is gone now."
        return Break(anchor.record_id, BreakKind.DELETED, sentence)
    sentence = f"Record #{anchor.record_id} had another hash when the chain was verified before: it was written anew."
    return Break(anchor.record_id, BreakKind.REWRITTEN, sentence)


def first_break(heads: Iterable[Head]) -> Break | None:
    """The first of some heads that does not stand any more."""
    return next((found for head in heads if (found := anchor_break(head)) is not None), None)


def anchors() -> list[Head]:
    """Heads of the latest good passes, newest first."""
    good = AuditCheck.objects.filter(ended_at__isnull=False, broken_id__isnull=True).order_by("-id")
    return [Head(row.head_id, row.head_hash, row.checked) for row in good[:50]]


def check_latest() -> AuditCheck | None:
    """The latest pass that came to its end."""
    return AuditCheck.objects.filter(ended_at__isnull=False).order_by("-id").first()


def check_running() -> AuditCheck | None:
    """The pass under way."""
    return AuditCheck.objects.filter(ended_at__isnull=True).order_by("-id").first()


@transaction.atomic
def check_begin(*, now: datetime) -> AuditCheck:
    """The pass under way, or a new one."""
    running = check_running()
    if running is not None:
        return running
    return AuditCheck.objects.create(started_at=now, moved_at=now, total=chain_size())


def check_due(now: datetime) -> bool:
    """Whether a pass should begin or go on."""
    latest = check_latest()
    return check_running() is not None or latest is None or now - latest.started_at >= EVERY


def check_step(*, now: datetime, slices: int = 10) -> AuditCheck:
    """Goes on with the pass under way (or begins one) for some slices. Safe to be broken off anywhere."""
    check = check_begin(now=now)
    head = Head(check.head_id, check.head_hash, check.checked)
    found, more = anchor_break(head), True
    while found is None and more and slices > 0:
        head, found, more = chain_slice(head)
        slices -= 1
    if found is None and not more:
        found = end_break() or first_break(anchors())
    check.head_id, check.head_hash, check.checked, check.moved_at = head.record_id, head.hash, head.count, now
    if found is not None:
        check.broken_id, check.kind, check.sentence = found.record_id, found.kind.value, found.sentence
    if found is not None or not more:
        check.ended_at = now
    check.save()
    return check


def check_state() -> dict[str, Any]:
    """What pages show: the latest finished pass, the one under way, the newest record."""
    return {
        "check": check_latest(),
        "running": check_running(),
        "newest": AuditRecord.objects.order_by("-id").values_list("id", flat=True).first() or 0,
    }
