"""The audit trail: every change with who, whence, what, why; one record with its diff; export; verification."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from pools.models import Entitlement, Pool, Tier
from portal.accounts.access import reads_everything, tenant_page
from portal.accounts.choices import TenantRole
from portal.accounts.models import Membership, Tenant
from portal.accounts.viewer import Viewer
from portal.audit import export, selectors, verify
from portal.audit.chain import BreakKind, record_hash
from portal.audit.diff import Change, changes
from portal.audit.models import AuditRecord
from portal.audit.services import content_of
from portal.dashboards.views.common import page
from portal.lib.clock import now
from portal.lib.given import number_of
from portal.lib.pages import note

FEW = 3
CHECK_SLICES = 10
NAMES = {
    "pools.pool": "pool",
    "pools.tier": "tier",
    "pools.entitlement": "entitlement",
    "pools.endpoint": "endpoint",
    "accounts.tenant": "tenant",
    "accounts.user": "person",
    "accounts.membership": "membership",
    "accounts.apikey": "key",
}


class Line(NamedTuple):
    """One row of the table: the first few changed fields, and how many more there are."""

    record: AuditRecord
    kind: str
    actor: str
    changes: list[Change]
    more: int


def kind_of(object_type: str) -> str:
    """What people call a type of object."""
    return NAMES.get(object_type, object_type.rpartition(".")[2])


def cursor_of(request: HttpRequest) -> int | None:
    """The record after which the page begins."""
    return number_of(request.GET.get("after", ""))


def line(record: AuditRecord, actor: str = "") -> Line:
    """A record as a row."""
    found = changes(record.before, record.after)
    name = actor or record.actor_label
    return Line(record, kind_of(record.object_type), name, found[:FEW], max(0, len(found) - FEW))


@reads_everything
@require_safe
def audit(request: HttpRequest) -> HttpResponse:
    """The trail, newest first; every filter is in the address."""
    query, cursor = selectors.AuditQuery.of(request.GET, now()), cursor_of(request)
    rows, next_cursor = selectors.audit_page(query, cursor)
    offered = selectors.choices()
    state = verify.check_state()
    context: dict[str, Any] = {
        "nav": "audit",
        "query": query,
        "lines": [line(row) for row in rows],
        "next": next_cursor,
        "paged": cursor is not None,
        "ranges": selectors.RANGES,
        "sentence": sentence(state),
        "types": [(name, kind_of(name)) for name in offered["types"]],
        "verbs": offered["verbs"],
        "sources": offered["sources"],
        "given": {key: request.GET.get(key, "") for key in ("from", "to")},
        **state,
    }
    return page(request, "dashboards/audit.html", context)


def sentence(state: dict[str, Any]) -> str:
    """What the page was opened for: what is recorded, and is it whole?"""
    check, newest = state["check"], state["newest"]
    if check is not None and check.kind == BreakKind.CUT:
        return "The newest records are missing: somebody cut off the end of the trail."
    if not newest:
        return "Nothing has been recorded yet."
    if check is None:
        return f"Every change up to #{newest:,} is recorded; the chain has not been verified yet."
    if check.broken_id is not None:
        return f"The chain is broken at #{check.broken_id:,}: records before it can be trusted, those after it cannot."
    if check.head_id >= newest:
        return f"Every change up to #{newest:,} is recorded, and the whole chain is intact."
    return f"Every change up to #{newest:,} is recorded, and verified up to #{check.head_id:,}."


@reads_everything
@require_safe
def record(request: HttpRequest, record_id: int) -> HttpResponse:
    """One record whole: the diff, the raw documents, its place in the chain."""
    found = get_object_or_404(AuditRecord.objects.select_related("tenant"), pk=record_id)
    rows = AuditRecord.objects.order_by("id").values_list("id", flat=True)
    context = {
        "nav": "audit",
        "record": found,
        "kind": kind_of(found.object_type),
        "changes": changes(found.before, found.after),
        "fits": record_hash(found.previous_hash, content_of(found)) == found.hash,
        "older": rows.filter(id__lt=found.pk).last(),
        "newer": rows.filter(id__gt=found.pk).first(),
        "address": object_address(found),
    }
    return page(request, "dashboards/audit_record.html", context)


def object_address(found: AuditRecord) -> str:
    """The page of the thing that was changed, "" where it has none or is gone. At most one query."""
    key = number_of(found.object_id)
    if key is None:
        return ""
    slugs: dict[str, Any] = {"pools.pool": Pool, "pools.tier": Tier, "accounts.tenant": Tenant}
    names = {"pools.pool": "pool", "pools.tier": "tier", "accounts.tenant": "tenant"}
    if found.object_type in slugs:
        slug = slugs[found.object_type].objects.filter(pk=key).values_list("slug", flat=True).first()
        return reverse(names[found.object_type], args=[slug]) if slug else ""
    if found.object_type == "pools.entitlement":
        slug = Entitlement.objects.filter(pk=key).values_list("slug", flat=True).first()
        return reverse("entitlement", args=[slug]) if slug else ""
    return ""


@reads_everything
@require_safe
def export_file(request: HttpRequest, form: str) -> HttpResponseBase:
    """All matching records as a download that is written while it is read."""
    makers = {"csv": (export.csv_lines, "text/csv"), "jsonl": (export.json_lines, "application/x-ndjson")}
    if form not in makers:
        raise Http404("The audit trail is exported as csv or jsonl.")
    make, content_type = makers[form]
    moment = now()
    rows = selectors.audit_stream(selectors.AuditQuery.of(request.GET, moment))
    answer = StreamingHttpResponse(make(rows), content_type=f"{content_type}; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="audit-{moment:%Y%m%dT%H%M%SZ}.{form}"'
    answer["Cache-Control"] = "no-store"
    return answer


@reads_everything
@require_POST
def verify_now(request: HttpRequest) -> HttpResponseBase:
    """Begins a pass at once; a long chain is gone on with in the background."""
    moment = now()
    check = verify.check_step(now=moment, slices=CHECK_SLICES)
    if check.ended_at is None:
        note(request, f"{check.checked:,} of {check.total:,} records verified; the rest follows in the background.")
    elif check.broken_id is not None:
        note(request, check.sentence, bad=True)
    else:
        note(request, f"The chain is intact: {check.checked:,} records verified.")
    return redirect("audit")


@tenant_page(TenantRole.ADMIN)
@require_safe
def tenant_audit(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """What was done to and by this tenant. People of the platform are not named to its admins."""
    cursor = cursor_of(request)
    rows, next_cursor = selectors.tenant_page(Viewer(None, tenant.pk), tenant, cursor)
    members = set(Membership.objects.filter(tenant=tenant).values_list("user__email", flat=True)[:2000])
    platform = getattr(request.user, "reads_everything", False)

    def named(row: AuditRecord) -> str:
        if platform or row.actor_label in members:
            return row.actor_label
        return "system" if row.source == "task" else "platform operator"

    context = {
        "nav": "tenant-audit",
        "tenant": tenant,
        "lines": [line(row, named(row)) for row in rows],
        "next": next_cursor,
        "paged": cursor is not None,
    }
    return page(request, "dashboards/tenant_audit.html", context)
