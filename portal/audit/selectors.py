"""Reading the audit trail: filters, cursor pages, a stream for exports. Every filter has an index behind it.

Without a time range records come in the order of the chain (newest id first); with one, in the order of their moments,
so that the database walks that range and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from portal.accounts.models import Tenant
from portal.accounts.viewer import Viewer
from portal.audit.models import AuditRecord, Source
from portal.lib.given import text_of

PAGE = 50
STREAM = 2000
LONGEST = 200
RANGES: tuple[tuple[str, str, timedelta], ...] = (
    ("1h", "1h", timedelta(hours=1)),
    ("24h", "24h", timedelta(days=1)),
    ("7d", "7d", timedelta(days=7)),
    ("30d", "30d", timedelta(days=30)),
)


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """What an address asks for. Empty text and None filter nothing; ``start`` and ``end`` bound the moment."""

    actor: str = ""
    verb: str = ""
    source: str = ""
    object_type: str = ""
    object_id: str = ""
    text: str = ""
    tenant: str = ""
    range: str = ""
    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def of(cls, given: Mapping[str, str], now: datetime) -> AuditQuery:
        """From the parameters of an address; what cannot be read is left out. ``range`` wins over the two ends."""
        texts: dict[str, Any] = {
            name: text_of(given, key, LONGEST)
            for name, key in (
                ("actor", "actor"),
                ("verb", "verb"),
                ("source", "source"),
                ("object_type", "type"),
                ("object_id", "id"),
                ("text", "q"),
                ("tenant", "tenant"),
            )
        }
        if texts["source"] not in Source.values:
            texts["source"] = ""
        span = next((span for key, _, span in RANGES if key == given.get("range")), None)
        if span is not None:
            return cls(**texts, range=given.get("range", ""), start=now - span)
        return cls(**texts, start=moment_read(given.get("from", "")), end=moment_read(given.get("to", "")))

    @property
    def by_moment(self) -> bool:
        """Whether a time range is given."""
        return self.start is not None or self.end is not None

    @property
    def filters(self) -> bool:
        """Whether anything is filtered."""
        return self != AuditQuery()


def moment_read(text: str) -> datetime | None:
    """A moment in UTC from the value of a date-and-time field; None for anything else."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def matching(query: AuditQuery) -> QuerySet[AuditRecord]:
    """Records that pass the filters, in the query's order."""
    rows = AuditRecord.objects.select_related("tenant")
    exact = {"verb": query.verb, "source": query.source, "object_type": query.object_type}
    rows = rows.filter(**{name: value for name, value in exact.items() if value})
    if query.object_id:
        rows = rows.filter(object_id=query.object_id)
    if query.tenant:
        rows = rows.filter(tenant__in=list(Tenant.objects.filter(slug=query.tenant).values_list("pk", flat=True)))
    if query.actor:
        rows = rows.filter(actor_label__icontains=query.actor)
    if query.text:
        rows = rows.filter(object_label__icontains=query.text)
    if query.start is not None:
        rows = rows.filter(at__gte=query.start)
    if query.end is not None:
        rows = rows.filter(at__lt=query.end)
    return rows.order_by("-at", "-id") if query.by_moment else rows.order_by("-id")


def before(rows: QuerySet[AuditRecord], query: AuditQuery, record_id: int) -> QuerySet[AuditRecord]:
    """Only what comes after a record in the query's order (older ones)."""
    if not query.by_moment:
        return rows.filter(id__lt=record_id)
    at = AuditRecord.objects.filter(pk=record_id).values_list("at", flat=True).first()
    return rows.filter(id__lt=record_id) if at is None else rows.filter(Q(at__lt=at) | Q(at=at, id__lt=record_id))


def audit_page(query: AuditQuery, cursor: int | None = None, size: int = PAGE) -> tuple[list[AuditRecord], int | None]:
    """One page and the cursor of the next one."""
    rows = matching(query)
    if cursor is not None:
        rows = before(rows, query, cursor)
    found = list(rows[: size + 1])
    return found[:size], found[size - 1].pk if len(found) > size else None


def audit_stream(query: AuditQuery) -> Iterator[AuditRecord]:
    """Every matching record, some thousand at a time: memory is bounded, whatever the filters let through.

    Records written meanwhile are newer than the first page and do not appear.
    """
    cursor: int | None = None
    while True:
        found, cursor = audit_page(query, cursor, STREAM)
        yield from found
        if cursor is None:
            return


def tenant_page(viewer: Viewer, tenant: Tenant, cursor: int | None = None) -> tuple[list[AuditRecord], int | None]:
    """One page of what concerned a tenant, read through the viewer's eyes."""
    with viewer.scope():
        rows = AuditRecord.objects.filter(tenant_id=tenant.pk).order_by("-id")
        if cursor is not None:
            rows = rows.filter(id__lt=cursor)
        found = list(rows[: PAGE + 1])
    return found[:PAGE], found[PAGE - 1].pk if len(found) > PAGE else None


def choices() -> dict[str, Any]:
    """What the filter lists offer: every verb and type there is, found by hopping over the index."""
    return {"verbs": _distinct("verb"), "types": _distinct("object_type"), "sources": Source.choices}


def _distinct(column: str) -> list[str]:
    sql = f"""
        WITH RECURSIVE hop AS (
            (SELECT {column} AS value FROM audit_auditrecord ORDER BY {column} LIMIT 1)
            UNION ALL
            SELECT (SELECT {column} FROM audit_auditrecord WHERE {column} > hop.value ORDER BY {column} LIMIT 1)
            FROM hop WHERE hop.value IS NOT NULL
        ) SELECT value FROM hop WHERE value IS NOT NULL LIMIT 300
    """  # noqa: S608  built from column names of this file only
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()]
