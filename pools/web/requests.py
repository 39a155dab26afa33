"""Requests for more, the operator's side: the list with the fit of each, one with the decision."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pools.models import Entitlement, EntitlementRequest, Pool, Tier
from pools.models.requests import RequestState
from pools.services.lease_check import LeaseCheck, lease_check
from pools.services.request_undo import OPERATORS, last_decision, request_undo
from pools.services.requests import (
    asked_entitlement,
    entitlement_held,
    request_approve,
    request_deny,
    requests_checked,
)
from pools.web.common import tier_choices
from pools.web.lists import cut
from portal.accounts.access import operates, reads_everything
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.pages import note, page, refusal_noted

UNITS = ("tokens_per_second", "kv_bytes", "concurrency")
LONGEST_TEXT = 200


def requests_matching(given: QueryDict) -> QuerySet[EntitlementRequest]:
    """Every request that passes the filters of the list: the open ones, unless another state is asked for."""
    state = given.get("state", RequestState.OPEN)
    text, pool = (given.get(name, "").strip()[:LONGEST_TEXT] for name in ("q", "pool"))
    rows = EntitlementRequest.objects.select_related("tenant", "pool__current_profile", "decided_by", "created_by")
    if state in RequestState.values:
        rows = rows.filter(state=state)
    if pool:
        rows = rows.filter(pool__slug=pool)
    if text and "\x00" not in text:
        rows = rows.filter(Q(tenant__slug__icontains=text) | Q(tenant__name__icontains=text))
    return rows


@reads_everything
@require_safe
def requests(request: HttpRequest) -> HttpResponse:
    """Open requests first of all; decided ones by the filter."""
    state = request.GET.get("state", RequestState.OPEN)
    text, pool = (request.GET.get(name, "").strip()[:LONGEST_TEXT] for name in ("q", "pool"))
    found = cut(requests_matching(request.GET), request, newest_first=True)
    waiting = EntitlementRequest.objects.filter(state=RequestState.OPEN).count()
    context = {
        **found,
        "rows": [
            {"one": one, "amounts": amounts_of(one.request, one.held)} for one in requests_checked(found["rows"], now())
        ],
        "nav": "requests",
        "state": state,
        "states": RequestState.choices,
        "q": text,
        "pool": pool,
        "pools": list(Pool.objects.filter(archived_at__isnull=True).values_list("slug", "name")[:500]),
        "waiting": waiting,
    }
    return page(request, "pools/requests.html", context)


def amounts_of(asked: EntitlementRequest, held: Entitlement | None) -> list[tuple[int, int | None, int]]:
    """(dimension, what is promised or capped now, what is asked) per dimension."""
    found = []
    for index, name in enumerate(UNITS):
        before = None
        if held is not None:
            before = getattr(held, f"base_{name}") or getattr(held, f"cap_{name}") or 0
        found.append((index, before, getattr(asked, f"asked_{name}")))
    return found


def request_of(request_id: int) -> EntitlementRequest:
    """The request with what pages show of it. Raises Http404."""
    rows = EntitlementRequest.objects.select_related("tenant", "pool__current_profile", "decided_by", "created_by")
    found = rows.filter(pk=request_id).first()
    if found is None:
        raise Http404(f"There is no request {request_id}.")
    return found


def checked(asked: EntitlementRequest, held: Entitlement | None, slug: str) -> tuple[LeaseCheck | None, Tier | None]:
    """Whether granting it would fit, under the tier with this slug or the one that is held."""
    tier = Tier.objects.select_related("current").filter(slug=slug, archived_at__isnull=True).first() if slug else None
    after = asked_entitlement(asked, held, tier)
    return (lease_check(after, now()) if after is not None else None), tier


@reads_everything
@require_http_methods(["GET", "HEAD", "POST"])
def request_page(request: HttpRequest, request_id: int) -> HttpResponseBase:
    """One request: what is held, what is asked, whether it fits; an operator decides here."""
    asked = request_of(request_id)
    if request.method == "POST":
        return _decide(request, asked)
    return _page(request, asked, {}, {})


@operates
def _decide(request: HttpRequest, asked: EntitlementRequest) -> HttpResponseBase:
    given, actor, moment = request.POST.dict(), page_actor(request), now()
    slug, reason = given.get("tier", ""), given.get("reason", "")[:1000]
    tier = Tier.objects.select_related("current").filter(slug=slug, archived_at__isnull=True).first() if slug else None
    try:
        if given.get("deed") == "deny":
            request_deny(actor=actor, now=moment, request_id=asked.pk, reason=reason)
            note(request, f"Denied; {asked.tenant.name} reads the reason.", undo=_undo_of(asked))
            return redirect("requests")
        made = request_approve(actor=actor, now=moment, request_id=asked.pk, reason=reason, tier=tier)
    except DomainError as error:
        fields = error.fields or {"": error.sentence}
        return _page(request, asked, given, fields, status=422)
    said = f"Approved: {made.entitlement.slug} is promised what was asked. {made.fit.sentence}"
    note(request, said, undo=_undo_of(asked))
    return redirect("entitlement", slug=made.entitlement.slug)


def _undo_of(asked: EntitlementRequest) -> str:
    record = last_decision(asked.pk)
    return reverse("request-undo", args=[asked.pk, record.pk]) if record is not None else ""


@operates
@require_POST
def undo(request: HttpRequest, request_id: int, record_id: int) -> HttpResponseBase:
    """Takes the decision back: the request waits again, and what an approval promised is as it was before."""
    asked, actor = request_of(request_id), page_actor(request)
    with refusal_noted(request):
        request_undo(actor=actor, now=now(), request_id=asked.pk, record_id=record_id, kinds=OPERATORS)
        back = "; what was promised is as it was before" if asked.state == RequestState.APPROVED else ""
        note(request, f"Taken back: request #{asked.pk} waits again{back}.")
    return redirect("request", request_id=asked.pk)


def _page(
    request: HttpRequest, asked: EntitlementRequest, given: dict[str, str], errors: dict[str, str], *, status: int = 200
) -> HttpResponse:
    held = entitlement_held(asked.tenant, asked.pool)
    check, _ = checked(asked, held, given.get("tier", "")) if asked.state == RequestState.OPEN else (None, None)
    context: dict[str, Any] = {
        "nav": "requests",
        "asked": asked,
        "held": held,
        "pool": asked.pool,
        "amounts": amounts_of(asked, held),
        "check": check,
        "open": asked.state == RequestState.OPEN,
        "tiers": tier_choices(),
        "given": given,
        "errors": errors,
        "others": list(
            EntitlementRequest.objects.filter(tenant=asked.tenant)
            .exclude(pk=asked.pk)
            .select_related("pool")
            .order_by("-pk")[:5]
        ),
    }
    return page(request, "pools/request.html", context, status=status)


@operates
@require_POST
def check(request: HttpRequest, request_id: int) -> HttpResponse:
    """The fit under another tier, while the operator chooses."""
    asked = request_of(request_id)
    held = entitlement_held(asked.tenant, asked.pool)
    found, _ = checked(asked, held, request.POST.get("tier", "")[:63])
    return page(request, "pools/_fit_check.html", {"check": found, "pool": asked.pool, "share": None})
