"""Everything of one tenant as a ZIP that is written while it is read: no table and no archive is ever held whole.

Rows come from server-side cursors some thousand at a time; a table stops at its bound and the manifest says so.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from billing.models import Entry, UsageEvent, UsageHour
from billing.services.usage_sql import SUMS
from pools.models import Entitlement, EntitlementRequest
from portal.accounts.models import ApiKey, Membership, Tenant
from portal.accounts.tenants import details_of
from portal.audit.export import json_lines
from portal.audit.selectors import AuditQuery, audit_stream
from portal.lib.tables import cell_safe

FORMAT = 1
CHUNK = 2_000
LINES = 500
MOST = 1_000_000

EVENT = (
    "settled_at",
    "request_id",
    "pool_id",
    "entitlement_id",
    "key_id",
    "outcome",
    "source",
    "reserved_tokens",
    "charged_tokens",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "kv_bytes",
    "concurrency",
    "started_at",
    "ttft_ms",
    "duration_ms",
)
ENTITLEMENT = (
    "id",
    "slug",
    "pool__slug",
    "tier__slug",
    "tier__service_class",
    "state",
    "state_reason",
    "base_tokens_per_second",
    "base_kv_bytes",
    "base_concurrency",
    "cap_tokens_per_second",
    "cap_kv_bytes",
    "cap_concurrency",
    "valid_from",
    "valid_until",
    "created_at",
    "updated_at",
)
LEDGER = (
    "id",
    "transfer__at",
    "transfer__kind",
    "transfer__pool__slug",
    "account__entitlement__slug",
    "amount_millitokens",
    "transfer__period_start",
    "transfer__period_end",
    "transfer__idempotency_key",
    "transfer__details",
)
KEY = ("id", "name", "kind", "prefix", "created_at", "created_by__email", "expires_at", "revoked_at", "last_used_at")
REQUEST = (
    "id",
    "pool__slug",
    "asked_tokens_per_second",
    "asked_kv_bytes",
    "asked_concurrency",
    "reason",
    "state",
    "created_by__email",
    "created_at",
    "decided_at",
    "decision_reason",
)


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV file: its columns and its rows, newest last."""

    name: str
    columns: tuple[str, ...]
    rows: QuerySet[Any]


def tables(tenant: Tenant) -> tuple[Table, ...]:
    """What the archive holds besides the audit trail. Digests of keys and passwords are not in it."""
    own = {"tenant_id": tenant.pk}
    hours = ("at", "pool_id", "entitlement_id", "key_id", *SUMS)
    return (
        Table("entitlements.csv", ENTITLEMENT, Entitlement.objects.filter(**own).order_by("pk")),
        Table("members.csv", ("user__email", "role", "created_at"), Membership.objects.filter(**own).order_by("pk")),
        Table("keys.csv", KEY, ApiKey.objects.filter(**own).order_by("pk")),
        Table("requests.csv", REQUEST, EntitlementRequest.objects.filter(**own).order_by("pk")),
        Table("ledger.csv", LEDGER, Entry.objects.filter(account__tenant_id=tenant.pk).order_by("pk")),
        Table("usage_hours.csv", hours, UsageHour.objects.filter(**own).order_by("at", "entitlement_id", "key_id")),
        Table("usage_events.csv", EVENT, UsageEvent.objects.filter(**own).order_by("settled_at", "event_id")),
    )


class _Outlet(io.RawIOBase):
    """What the archive writes, taken away piece by piece."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> list[bytes]:
        """All since the last time, as one piece; none when nothing was written."""
        text = b"".join(self._parts)
        self._parts.clear()
        return [text] if text else []


def export_stream(tenant: Tenant, moment: datetime, by: str, most: int = MOST) -> Iterator[bytes]:
    """The archive in pieces. ``most``: rows of one table."""
    outlet, files = _Outlet(), {}
    at = moment.timetuple()[:6]
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_DEFLATED) as archive:
        for table in tables(tenant):
            files[table.name] = seen = {"rows": 0, "columns": list(table.columns), "truncated": False}
            with archive.open(_entry(table.name, at), "w", force_zip64=True) as file:
                for lines in _csv(table, seen, most):
                    file.write(lines.encode())
                    yield from outlet.taken()
        files["audit.jsonl"] = seen = {"rows": 0, "truncated": False}
        with archive.open(_entry("audit.jsonl", at), "w", force_zip64=True) as file:
            for lines in json_lines(_counted(audit_stream(AuditQuery(tenant=tenant.slug)), seen, most)):
                file.write(lines.encode())
                yield from outlet.taken()
        about = {
            "format": FORMAT,
            "tenant": tenant.slug,
            **details_of(tenant),
            "state": tenant.state,
            "created_at": tenant.created_at.isoformat(),
            "exported_at": moment.isoformat(),
            "exported_by": by,
            "files": files,
        }
        archive.writestr(_entry("manifest.json", at), json.dumps(about, ensure_ascii=False, indent=1))
    yield from outlet.taken()


def _entry(name: str, at: Sequence[int]) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=(at[0], at[1], at[2], at[3], at[4], at[5]))
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _csv(table: Table, seen: dict[str, Any], most: int) -> Iterator[str]:
    """The table in pieces of some hundred lines."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(name.replace("__", "_") for name in table.columns)
    rows = table.rows.values_list(*table.columns)[: most + 1].iterator(chunk_size=CHUNK)
    for number, row in enumerate(_counted(rows, seen, most), 1):
        writer.writerow([_cell(value) for value in row])
        if number % LINES == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _counted(rows: Iterable[Any], seen: dict[str, Any], most: int) -> Iterator[Any]:
    """At most ``most`` rows; notes how many there were and whether there would be more."""
    for row in rows:
        if seen["rows"] == most:
            seen["truncated"] = True
            return
        seen["rows"] += 1
        yield row


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return cell_safe(value)
