"""The audit trail as CSV or JSON lines, row by row. JSON lines carry the hashes: they can be verified elsewhere."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from portal.audit.models import AuditRecord
from portal.audit.services import content_of
from portal.lib.tables import cell_safe

HEAD = (
    "id",
    "at",
    "actor",
    "source",
    "verb",
    "object_type",
    "object_id",
    "object",
    "tenant",
    "reason",
    "before",
    "after",
    "hash",
)
GATHERED = 200


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        """The line."""
        return text


def csv_lines(rows: Iterable[AuditRecord]) -> Iterator[str]:
    """A header and one line per record, some hundred lines at a time."""
    writer = csv.writer(_Echo())
    return _gathered(_csv(writer, rows))


def _csv(writer: Any, rows: Iterable[AuditRecord]) -> Iterator[str]:
    yield writer.writerow(HEAD)
    for row in rows:
        cells = [
            row.pk,
            row.at,
            row.actor_label,
            row.source,
            row.verb,
            row.object_type,
            row.object_id,
            row.object_label,
            row.tenant.slug if row.tenant else "",
            row.reason,
            json.dumps(row.before, ensure_ascii=False, sort_keys=True),
            json.dumps(row.after, ensure_ascii=False, sort_keys=True),
            row.hash,
        ]
        yield writer.writerow([cell_safe(cell) for cell in cells])


def json_lines(rows: Iterable[AuditRecord]) -> Iterator[str]:
    """One object per record: ``content`` is what the hash covers, together with ``previous_hash``."""
    return _gathered(_json(rows))


def _json(rows: Iterable[AuditRecord]) -> Iterator[str]:
    for row in rows:
        line = {
            "id": row.pk,
            "tenant": row.tenant.slug if row.tenant else None,
            "content": content_of(row),
            "previous_hash": row.previous_hash,
            "hash": row.hash,
        }
        yield orjson.dumps(line).decode() + "\n"


def _gathered(lines: Iterable[str]) -> Iterator[str]:
    part: list[str] = []
    for line in lines:
        part.append(line)
        if len(part) == GATHERED:
            yield "".join(part)
            part.clear()
    yield "".join(part)
