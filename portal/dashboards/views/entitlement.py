"""One entitlement: how it stands now, how it stood over time, what it is promised, who changed it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from billing.models import Account
from pools.choices import CLASS_RULES, EntitlementState, ServiceClass
from pools.models import Entitlement, EntitlementRequest
from pools.models.requests import RequestState
from pools.selectors.live import live_for_tenant
from pools.services.amounts import cap_of
from pools.services.entitlement_undo import OBJECT_TYPE, UNDOABLE
from pools.services.lease_check import lease_check
from pools.web.entitlement_edit import entitlement_of
from portal.accounts.access import reads_everything
from portal.accounts.models import User
from portal.audit.models import AuditRecord
from portal.dashboards import numbers, reads
from portal.dashboards.limit_charts import limit_charts
from portal.dashboards.live_state import LiveRow, Triple, parse
from portal.dashboards.series import DIMENSIONS, RANGES, bullets, debt_words, range_of
from portal.dashboards.views.audit import line
from portal.dashboards.views.common import json, page, recent
from portal.lib.clock import now
from portal.lib.pages import json_text

MOST_RECORDS = 20
UNITS = ("tokens_per_second", "kv_bytes", "concurrency")
FULL = 0.97


@reads_everything
@require_safe
def entitlement(request: HttpRequest, slug: str) -> HttpResponse:
    """The page of one entitlement."""
    found, moment = entitlement_of(slug), now()
    living = found.state != EntitlementState.EXPIRED
    state = recent(parse(reads.live_text(found.pool_id))) if living else None
    row = state.rows.get(found.pk) if state is not None else None
    records = list(
        AuditRecord.objects.filter(object_type=OBJECT_TYPE, object_id=str(found.pk)).order_by("-id")[:MOST_RECORDS]
    )
    waits = found.state in {EntitlementState.PENDING, EntitlementState.DRAINING, EntitlementState.DEGRADED}
    check = lease_check(found, moment) if waits else None
    context: dict[str, Any] = {
        "nav": "entitlements",
        "entitlement": found,
        "living": living,
        "state": state,
        "row": row,
        "sentence": sentence(found, row, moment),
        "tiles": tiles(found, row),
        "debt": debt_words(row.debt) if row is not None else "",
        "owed": Account.objects.filter(entitlement=found).values_list("balance_millitokens", flat=True).first(),
        "rule": CLASS_RULES[ServiceClass(found.tier.service_class)],
        "check": check,
        "lines": [line(record) for record in records],
        "undo": undoable(cast(User, request.user), records) if living else None,
        "asked": EntitlementRequest.objects.filter(
            tenant=found.tenant, pool=found.pool, state=RequestState.OPEN
        ).first(),
        "ranges": RANGES,
        "range": range_of(request.GET.get("range")),
        "begun": found.valid_from <= moment,
    }
    return page(request, "dashboards/entitlement.html", context, charts=True)


def sentence(found: Entitlement, row: LiveRow | None, moment: datetime) -> str:
    """What the page was opened for: is it served, and what holds it back?"""
    if found.state == EntitlementState.EXPIRED:
        return f"It has ended. {found.state_reason}".strip()
    if found.state == EntitlementState.SUSPENDED:
        return f"It is suspended: every request is refused. {found.state_reason}".strip()
    if found.valid_from > moment:
        return f"It becomes effective at {found.valid_from:%Y-%m-%d %H:%M} UTC; until then its requests wait."
    if found.state != EntitlementState.BOUND:
        return f"It is {found.state}, so its requests have to wait. {found.state_reason}".strip()
    if row is None:
        return "It is in force; there is no live data of its pool at the moment."
    shares = [use / limit if limit > 0 else 0.0 for use, limit in zip(row.use, row.limit, strict=True)]
    fullest = max(range(3), key=lambda index: shares[index])
    if not any(row.use):
        return "It is in force and idle: nothing runs right now."
    where = numbers.of(row.use[fullest], row.limit[fullest], fullest)
    refused = f"{numbers.si(row.refused_per_minute)} requests a minute are refused" if row.refused_per_minute else ""
    if shares[fullest] >= FULL:
        return f"It is at its limit: {where}{f'; {refused}' if refused else ''}."
    if refused:
        return f"It comes up to its limit again and again: {refused}; {where} are in use now."
    return f"It is served with room to spare: {where}, the fullest of the three."


def tiles(found: Entitlement, row: LiveRow | None) -> list[dict[str, Any]]:
    """One tile a dimension: use of limit now, promise and ceiling."""
    version = found.tier.current
    caps: Triple = cap_of(found, version).as_tuple() if version is not None else (0, 0, 0)
    shown = []
    for index, (key, title) in enumerate(DIMENSIONS):
        base, given = getattr(found, f"base_{UNITS[index]}"), getattr(found, f"cap_{UNITS[index]}")
        shown.append(
            {
                "index": index,
                "key": key,
                "title": title,
                "bullet": bullets(row)[index],
                "base": numbers.amount(base, index) if base else "nothing",
                "cap": numbers.amount(caps[index], index),
                "explicit": given is not None,
                "headroom": numbers.amount(row.headroom[index], index) if row is not None else numbers.NONE,
            }
        )
    return shown


def undoable(user: User, records: list[AuditRecord]) -> AuditRecord | None:
    """The last deed, if it can be taken back by this person."""
    last = next((record for record in records if record.verb in UNDOABLE), None)
    return last if last is not None and user.operates and last.verb != "entitlement_create" else None


@reads_everything
@require_safe
def charts(request: HttpRequest, slug: str) -> HttpResponse:
    """Use under limit and cap in each dimension, refusals, over the range in the address."""
    return json(limit_charts(entitlement_of(slug), range_of(request.GET.get("range")), now()))


@reads_everything
@require_safe
def live(request: HttpRequest, slug: str) -> HttpResponse:
    """The latest live message of its pool, its tenant's rows only: polled while the websocket is lost."""
    found = entitlement_of(slug)
    text = reads.live_text(found.pool_id)
    return json_text(live_for_tenant(text, found.tenant_id) if text else "{}")
