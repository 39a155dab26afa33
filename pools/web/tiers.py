"""Tiers: the list, the page of one, a new one, archive and restore."""

from __future__ import annotations

from typing import Any, cast

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pools.choices import CLASS_RULES, EntitlementState, ServiceClass
from pools.models import Tier
from pools.selectors.tiers import tiers_page, tiers_planned, versions_page
from pools.services.tier_drafts import tier_draft_of
from pools.services.tier_schedule import effective_of
from pools.services.tier_terms import TierTerms
from pools.services.tiers import tier_archive, tier_create, tier_restore
from pools.web.tier_form import FIELDS, GROUPS, field_groups, typed_of, typed_read, value_words
from pools.web.tier_shadow_panel import shadow_context
from portal.accounts.access import operates, reads_everything
from portal.accounts.models import User
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import reason_of
from portal.lib.pages import note, page, refusal_noted

LONGEST_NAME = 200


def tier_of(slug: str) -> Tier:
    """The tier of a slug with its terms in force and in shadow, or 404."""
    return get_object_or_404(Tier.objects.select_related("current", "shadow"), slug=slug)


def terms_facts(terms: TierTerms) -> list[tuple[str, list[tuple[str, str]]]]:
    """(group, [(label, value in words)]) of terms."""
    return [
        (group, [(f.label, value_words(f.name, getattr(terms, f.name))) for f in FIELDS if f.group == group])
        for group in GROUPS
    ]


def tier_filters(request: HttpRequest) -> tuple[str, str, bool]:
    """(text, class, archived) that the address of the list asks for."""
    return request.GET.get("q", "").strip(), request.GET.get("class", ""), request.GET.get("archived") == "1"


@reads_everything
@require_safe
def tiers(request: HttpRequest) -> HttpResponse:
    """Every tier with its terms in force, what is planned and what is watched."""
    text, service_class, archived = tier_filters(request)
    found = tiers_page(text, service_class, archived, request.GET.get("after", ""), now())
    context = {
        "nav": "tiers",
        "lines": found.lines,
        "next": found.next,
        "paged": "after" in request.GET,
        "q": text,
        "service_class": service_class,
        "archived": archived,
        "classes": [each.value for each in ServiceClass],
        "filtered": bool(text or service_class or archived),
    }
    return page(request, "pools/tiers.html", context)


@reads_everything
@require_safe
def tier(request: HttpRequest, slug: str) -> HttpResponse:
    """One tier: terms in force, planned changes, the shadow, every version."""
    found, moment, user = tier_of(slug), now(), cast(User, request.user)
    planned = tiers_planned([found.pk], moment).get(found.pk, [])
    before = request.GET.get("before", "")
    versions, cursor = versions_page(found, before, planned, moment)
    living = found.entitlements.exclude(state=EntitlementState.EXPIRED.value)
    current = found.current
    ends = current.effective_until if current is not None else None
    context: dict[str, Any] = {
        "nav": "tiers",
        "tier": found,
        "current": current,
        "rule": CLASS_RULES[ServiceClass(found.service_class)],
        "facts": terms_facts(TierTerms.of_version(current)) if current is not None else [],
        "living": living.aggregate(entitlements=Count("pk"), pools=Count("pool", distinct=True)),
        "planned": planned,
        "ends": ends,
        "then": effective_of(found.pk, ends) if ends is not None else None,
        "draft": tier_draft_of(user, found) if user.operates and found.archived_at is None else None,
        "versions": versions,
        "older": cursor,
        "paged": bool(before),
        "may_change": user.operates and found.archived_at is None,
        **shadow_context(found, request.GET.get("range", ""), moment),
    }
    return page(request, "pools/tier.html", context, charts=True)


@operates
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponseBase:
    """A new tier: class, name, terms. ``?class=`` begins at that class's usual terms, ``?from=`` at a tier's own."""
    if request.method == "POST":
        return _created(request)
    like = Tier.objects.select_related("current").filter(slug=request.GET.get("from", "")).first()
    service_class = like.service_class if like else request.GET.get("class", "")
    if service_class not in list(ServiceClass):
        service_class = ServiceClass.ELASTIC.value
    terms = TierTerms.of_class(service_class)
    if like is not None and like.current is not None:
        terms = TierTerms.of_version(like.current)
    typed = {name: request.GET.get(name, "")[:LONGEST_NAME] for name in ("slug", "name", "reason")}
    return _new(request, service_class, typed, typed_of(terms), {})


def _new(
    request: HttpRequest,
    service_class: str,
    typed: dict[str, str],
    values: dict[str, str],
    errors: dict[str, str],
    status: int = 200,
) -> HttpResponse:
    context = {
        "nav": "tiers",
        "typed": typed,
        "errors": errors,
        "service_class": service_class,
        "classes": [(each.value, CLASS_RULES[each].sentence) for each in ServiceClass],
        "groups": list(field_groups(values, errors, service_class)),
    }
    return page(request, "pools/tier_new.html", context, status=status)


def _created(request: HttpRequest) -> HttpResponseBase:
    service_class = request.POST.get("service_class", "")
    named = {
        "slug": request.POST.get("slug", "").strip()[:LONGEST_NAME],
        "name": request.POST.get("name", "").strip()[:LONGEST_NAME],
        "reason": reason_of(request),
    }
    known = service_class if service_class in list(ServiceClass) else ServiceClass.ELASTIC.value
    typed = typed_read(request.POST, known)
    errors = dict(typed.errors)
    if typed.terms is not None:
        try:
            made = tier_create(
                actor=page_actor(request), now=now(), service_class=service_class, terms=typed.terms, **named
            )
        except DomainError as error:
            errors |= error.fields or {"slug": error.sentence}
        else:
            undo = reverse("tier-archive", args=[made.slug]) + "?created=1"
            note(request, f"{made.name} is there; promise it to tenants with an entitlement.", undo=undo)
            return redirect("tier", made.slug)
    return _new(request, known, named, typed.values, errors, status=422)


@operates
@require_POST
def archive(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Puts a tier away; its name has to be typed, unless it was made just now and is taken back."""
    found = tier_of(slug)
    just_made = "created" in request.GET and found.versions.count() == 1
    if not just_made and request.POST.get("confirm", "").strip() != found.slug:
        note(request, f"Nothing was archived: type {found.slug} to confirm.", bad=True)
        return redirect("tier", found.slug)
    with refusal_noted(request):
        tier_archive(actor=page_actor(request), now=now(), tier_id=found.pk, reason=reason_of(request))
        note(request, f"{found.name} is archived.", undo=reverse("tier-restore", args=[found.slug]))
        return redirect("tiers")
    return redirect("tier", found.slug)


@operates
@require_POST
def restore(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Takes a tier out of the archive."""
    found = tier_of(slug)
    tier_restore(actor=page_actor(request), now=now(), tier_id=found.pk)
    note(request, f"{found.name} is back.")
    return redirect("tier", found.slug)
