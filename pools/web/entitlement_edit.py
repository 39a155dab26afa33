"""New entitlements and changed terms, with the fit beside the form while one types; suspend, resume, end, undo."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from pools.choices import EntitlementState
from pools.mechanism.amounts import Rate
from pools.models import Entitlement, Pool
from pools.services.entitlement_undo import entitlement_undo, last_deed
from pools.services.entitlements import (
    EntitlementResult,
    entitlement_change,
    entitlement_create,
    entitlement_expire,
    entitlement_resume,
    entitlement_suspend,
)
from pools.services.lease_check import lease_check
from pools.web.common import size_write, tier_choices
from pools.web.entitlement_form import EntitlementForm, initial_of
from pools.web.entitlement_merge import merged
from portal.accounts.access import operates
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import reason_of
from portal.lib.pages import note, page, refusal_noted

RENAMED = {"cap": "cap_tokens_per_second"}
"""Fields of the services → fields of the form."""
GROUPS = (
    ("Who and where", "The tier can be changed later, the rest stays.", ("tenant", "pool", "tier", "slug")),
    (
        "What is promised",
        "Spot and preemptible promise nothing: leave these empty and give caps.",
        ("base_concurrency", "base_tokens_per_second", "base_kv_bytes"),
    ),
    (
        "Ceiling",
        "How far it may burst where there is room.",
        ("cap_concurrency", "cap_tokens_per_second", "cap_kv_bytes"),
    ),
    ("When", "Moments in UTC.", ("valid_from", "valid_until")),
)


def entitlement_of(slug: str) -> Entitlement:
    """The entitlement with what pages show of it. Raises Http404."""
    rows = Entitlement.objects.select_related("tenant", "pool__current_profile", "tier__current")
    found = rows.filter(slug=slug).first()
    if found is None:
        raise Http404(f"There is no entitlement “{slug}”.")
    return found


@operates
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponseBase:
    """The form of a new one, and its making. Tenant, pool and tier may be given in the address."""
    form = EntitlementForm(
        request.POST if request.method == "POST" else None,
        initial={name: request.GET.get(name, "")[:63] for name in ("tenant", "pool", "tier")},
    )
    if request.method != "POST":
        return _page(request, form, None)
    if not form.is_valid():
        return _page(request, form, None, status=422)
    data, rows = form.cleaned_data, form.rows
    try:
        made = entitlement_create(
            actor=page_actor(request),
            now=now(),
            tenant=rows["tenant"],
            pool=rows["pool"],
            tier=rows["tier"],
            slug=data["slug"],
            base=Rate(*(value or 0 for name, value in form.amounts.items() if name.startswith("base"))),
            cap=(data["cap_tokens_per_second"], data["cap_kv_bytes"], data["cap_concurrency"]),
            valid_from=data["valid_from"],
            valid_until=data["valid_until"],
            reason=data["reason"],
        )
    except DomainError as error:
        return _refused(request, form, None, error)
    return _made(request, made, f"{made.entitlement.slug} is promised. {made.fit.sentence}")


@operates
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Changed terms. Who edits what somebody else changed meanwhile sees what moved and goes on typing."""
    held, moment = entitlement_of(slug), now()
    if held.state == EntitlementState.EXPIRED:
        note(request, f"{held.slug} has ended; make a new entitlement.", bad=True)
        return redirect("entitlement", slug=slug)
    begun = held.valid_from <= moment
    if request.method != "POST":
        return _page(request, EntitlementForm(initial=initial_of(held), entitlement=held, begun=begun), held)
    form = EntitlementForm(request.POST, entitlement=held, begun=begun)
    if not form.is_valid():
        return _page(request, form, held, status=422)
    try:
        made = entitlement_change(
            actor=page_actor(request),
            now=moment,
            entitlement_id=held.pk,
            changes=form.changes,
            reason=form.cleaned_data["reason"],
            expected_revision=form.cleaned_data["revision"],
        )
    except DomainError as error:
        if error.code == "revision_moved":
            return _conflict(request, held, begun)
        return _refused(request, form, held, error)
    return _made(request, made, f"{held.slug} is changed. {made.fit.sentence}")


def _conflict(request: HttpRequest, held: Entitlement, begun: bool) -> HttpResponse:
    """The form again at the present revision: untouched fields follow the other's edit, typed ones stay."""
    theirs = initial_of(held)
    values, moves = merged(_base(request), request.POST.dict(), theirs)
    values["revision"] = str(held.revision)
    form = EntitlementForm(values, entitlement=held, begun=begun)
    form.is_valid()
    record = last_deed(held.pk)
    return _page(request, form, held, status=412, moves=moves, record=record, base=theirs)


def _base(request: HttpRequest) -> dict[str, Any]:
    """What the form began with: it travels with the form, so that an edit in between can be told from one's own."""
    try:
        found = orjson.loads(request.POST.get("was", "{}")[:5000])
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _refused(request: HttpRequest, form: EntitlementForm, held: Entitlement | None, error: DomainError) -> HttpResponse:
    for name, sentence in error.fields.items():
        field = RENAMED.get(name, name)
        form.add_error(field if field in form.fields else None, sentence)
    if not error.fields:
        form.add_error(None, error.sentence)
    return _page(request, form, held, status=422)


def _page(
    request: HttpRequest, form: EntitlementForm, held: Entitlement | None, *, status: int = 200, **more: Any
) -> HttpResponse:
    base = more.pop("base", None) or (_base(request) if request.method == "POST" else form.initial)
    groups = [(title, about, [form[name] for name in names if name in form.fields]) for title, about, names in GROUPS]
    context = {
        "nav": "entitlements",
        "form": form,
        "entitlement": held,
        "groups": [group for group in groups if group[2]],
        "tiers": tier_choices(),
        "pools": list(Pool.objects.filter(archived_at__isnull=True).order_by("slug")[:500]) if held is None else [],
        "was": orjson.dumps({key: str(value or "") for key, value in base.items()}).decode(),
        **more,
    }
    return page(request, "pools/entitlement_edit.html", context, status=status)


def _made(request: HttpRequest, made: EntitlementResult, sentence: str) -> HttpResponse:
    row = made.entitlement
    _note(request, row, " ".join([sentence, *made.warnings]))
    return redirect("entitlement", slug=row.slug)


def _note(request: HttpRequest, row: Entitlement, sentence: str) -> None:
    record = last_deed(row.pk)
    note(request, sentence, undo=reverse("entitlement-undo", args=[row.slug, record.pk]) if record else "")


@operates
@require_POST
def check(request: HttpRequest) -> HttpResponse:
    """The panel beside the form: does what is typed fit, and what is missing?"""
    moment = now()
    held = Entitlement.objects.select_related("tenant", "pool__current_profile", "tier__current").filter(
        slug=request.POST.get("entitlement", "")[:128]
    )
    entitlement = held.first() if request.POST.get("entitlement") else None
    form = EntitlementForm(request.POST, entitlement=entitlement, begun=True)
    form.is_valid()
    context: dict[str, Any] = {"pool": form.rows.get("pool") or (entitlement.pool if entitlement else None)}
    if form.can_be_checked:
        context["check"] = lease_check(form.proposed(moment), moment)
    else:
        context["problems"] = list(_typed_problems(form, request))
    slots = form.cleaned_data.get("base_concurrency") or form.cleaned_data.get("cap_concurrency")
    context["share"] = _share(context["pool"], slots)
    return page(request, "pools/_fit_check.html", context)


def _typed_problems(form: EntitlementForm, request: HttpRequest) -> Iterable[str]:
    """Sentences about what was typed; nothing about what is still empty."""
    for name, sentences in form.errors.items():
        if request.POST.get(name, "").strip():
            yield (
                f"{form.fields[name].label}: {' '.join(map(str, sentences))}" if name in form.fields else str(sentences)
            )


def _share(pool: Pool | None, slots: int | None) -> dict[str, Any] | None:
    """What so many slots of a replica bring along: an offer to fill the other two amounts."""
    profile = pool.current_profile if pool is not None else None
    if profile is None or not slots or slots > 10**6:
        return None
    return {
        "slots": slots,
        "tokens": profile.tokens_per_second * slots // profile.concurrency,
        "kv_bytes": profile.kv_bytes * slots // profile.concurrency,
        "kv_text": size_write((profile.kv_bytes * slots // profile.concurrency >> 20) << 20),
    }


@operates
@require_POST
def suspend(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Refuses every request of it at once."""
    row, reason = entitlement_of(slug), reason_of(request, 300)
    entitlement_suspend(actor=page_actor(request), now=now(), entitlement_id=row.pk, reason=reason)
    _note(request, row, f"{slug} is suspended; gateways refuse its requests within a second.")
    return redirect("entitlement", slug=slug)


@operates
@require_POST
def resume(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Puts a suspended one back, if it still fits."""
    row, reason = entitlement_of(slug), reason_of(request, 300)
    with refusal_noted(request):
        entitlement_resume(actor=page_actor(request), now=now(), entitlement_id=row.pk, reason=reason)
        _note(request, row, f"{slug} is resumed: bound again as soon as it fits.")
    return redirect("entitlement", slug=slug)


@operates
@require_POST
def end(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Ends it for good; its slug has to be typed."""
    row = entitlement_of(slug)
    if request.POST.get("confirm", "").strip() != slug:
        note(request, f"Nothing was ended: type {slug} to confirm.", bad=True)
        return redirect("entitlement", slug=slug)
    reason = reason_of(request, 300)
    entitlement_expire(actor=page_actor(request), now=now(), entitlement_id=row.pk, reason=reason)
    note(request, f"{slug} has ended. Its history and its debt are kept.")
    return redirect("entitlement", slug=slug)


@operates
@require_POST
def undo(request: HttpRequest, slug: str, record_id: int) -> HttpResponseBase:
    """Takes the last deed back."""
    row, moment = entitlement_of(slug), now()
    with refusal_noted(request):
        entitlement_undo(actor=page_actor(request), now=moment, entitlement_id=row.pk, record_id=record_id)
        note(request, f"Undone: {slug} is as it was before.")
    return redirect("entitlement", slug=slug)
