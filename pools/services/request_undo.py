"""Taking a decision on a request for more back: it waits again as it did, and what an approval promised is put back.

Only while nothing newer happened: neither to the request, nor to the entitlement an approval changed, nor by another
request of the tenant for the pool.
"""

from __future__ import annotations

from datetime import datetime

from pools.choices import EntitlementState
from pools.models import Entitlement, EntitlementRequest
from pools.models.requests import RequestState
from pools.services.entitlement_undo import OBJECT_TYPE, UNDOABLE, entitlement_undo, last_deed
from portal.accounts.choices import TenantState
from portal.audit.models import AuditRecord
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

REQUEST_TYPE = "pools.entitlementrequest"
OPERATORS = ("request_approved", "request_denied")
TENANTS = ("request_withdrawn",)
"""Whose deed is whose to take back."""


def last_decision(request_id: int) -> AuditRecord | None:
    """The latest record of a request, whatever it says. One query."""
    rows = AuditRecord.objects.filter(object_type=REQUEST_TYPE, object_id=str(request_id))
    return rows.order_by("-id").first()


@recorded()
def request_undo(
    *, actor: Actor, now: datetime, request_id: int, record_id: int, kinds: tuple[str, ...]
) -> EntitlementRequest:
    """Opens a request again whose decision is the record's; the terms an approval changed are as they were, what it
    newly promised ends. All or nothing.

    Raises DomainError ``not_found``, ``moved_on`` when something newer happened, and whatever the entitlement refuses.
    """
    rows = EntitlementRequest.objects.select_for_update(of=("self",), no_key=True).select_related("tenant", "pool")
    request, record = rows.filter(pk=request_id).first(), last_decision(request_id)
    if request is None or record is None:
        raise DomainError("not_found", f"There is no request {request_id}.", status=404)
    if record.pk != record_id or request.state == RequestState.OPEN:
        sentence = f"Request #{request.pk} is {request.get_state_display().lower()} by now; nothing was taken back."
        raise DomainError("moved_on", sentence, status=409)
    if record.verb not in kinds:
        raise DomainError("not_found", f"Request #{request.pk} has no decision of that kind.", status=404)
    _open_check(request)
    before = {"state": str(request.state), "reason": request.decision_reason, "entitlement": _slug(request)}
    reason = f"Undo of what {record.actor_label} did at {record.at:%Y-%m-%d %H:%M} UTC."
    if request.state == RequestState.APPROVED:
        _terms_back(actor, now, request)
    request.state, request.decided_by, request.decided_at, request.decision_reason = RequestState.OPEN, None, None, ""
    request.save(update_fields=["state", "decided_by", "decided_at", "decision_reason", "entitlement"])
    after = {"state": str(request.state), "reason": "", "entitlement": _slug(request)}
    audit_record(
        actor=actor,
        verb="request_reopen",
        target=request,
        before=before,
        after=after,
        reason=reason,
        now=now,
        tenant=request.tenant,
    )
    return request


def _open_check(request: EntitlementRequest) -> None:
    """Whether it may wait again. Raises DomainError ``moved_on``."""
    tenant, pool = request.tenant, request.pool
    newer = EntitlementRequest.objects.filter(tenant=tenant, pool=pool, pk__gt=request.pk).order_by("pk").first()
    if newer is not None:
        sentence = f"{tenant.name} has asked again for {pool.name} since (request #{newer.pk}); decide on that one."
    elif pool.archived_at is not None:
        sentence = f"{pool.name} is archived by now, so no request for it can wait."
    elif tenant.state == TenantState.OFFBOARDED:
        sentence = f"{tenant.name} was offboarded since, so its request cannot wait."
    else:
        return
    raise DomainError("moved_on", sentence, status=409)


def _terms_back(actor: Actor, now: datetime, request: EntitlementRequest) -> None:
    """Undoes the deed on the entitlement that the approval was; an approval that changed nothing leaves none."""
    if request.entitlement_id is None or request.decided_at is None:
        return
    entitlement = Entitlement.objects.get(pk=request.entitlement_id)
    deeds = AuditRecord.objects.filter(
        object_type=OBJECT_TYPE, object_id=str(entitlement.pk), verb__in=UNDOABLE, at=request.decided_at
    )
    deed = deeds.filter(reason__startswith=f"Request #{request.pk}:").first()
    if deed is None:
        return
    latest = last_deed(entitlement.pk)
    if entitlement.state == EntitlementState.EXPIRED or latest is None or latest.pk != deed.pk:
        what = "has ended" if entitlement.state == EntitlementState.EXPIRED else "was changed again"
        sentence = (
            f"{entitlement.slug} {what} since request #{request.pk} was approved, so the approval cannot be taken back "
            "by itself; change the entitlement instead."
        )
        raise DomainError("moved_on", sentence, status=409)
    entitlement_undo(actor=actor, now=now, entitlement_id=entitlement.pk, record_id=deed.pk)
    if deed.verb == "entitlement_create":
        request.entitlement = None


def _slug(request: EntitlementRequest) -> str:
    return request.entitlement.slug if request.entitlement is not None else ""
