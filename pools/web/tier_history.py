"""A tier's past and plans: two versions side by side, back to an older one, undo, plans called off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pools.models import Tier, TierVersion
from pools.selectors.tiers import version_numbered, version_numbers
from pools.services.tier_schedule import tier_schedule_cancel
from pools.services.tier_terms import TierTerms, changes_between
from pools.services.tier_undo import tier_plan_again, tier_publish_undo
from pools.services.tiers import tier_revert
from pools.web.tier_edit import tier_for_change
from pools.web.tier_form import FIELDS, GROUPS, typed_of, value_words
from pools.web.tier_preview import preview_now
from pools.web.tiers import tier_of
from portal.accounts.access import operates, reads_everything
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import number_of, reason_of
from portal.lib.pages import note, page, refusal_noted


def side_by_side(one: TierTerms, other: TierTerms) -> list[tuple[str, list[tuple[str, str, str, bool]]]]:
    """(group, [(label, value of one, value of other, differs)])."""
    changed = changes_between(one, other)

    def row(name: str, label: str) -> tuple[str, str, str, bool]:
        return label, value_words(name, getattr(one, name)), value_words(name, getattr(other, name)), name in changed

    return [(group, [row(f.name, f.label) for f in FIELDS if f.group == group]) for group in GROUPS]


@reads_everything
@require_safe
def diff(request: HttpRequest, slug: str) -> HttpResponse:
    """Two versions beside each other: ``?from=7&to=8``; without them the one in force and the one before it."""
    found = tier_of(slug)
    numbers = version_numbers(found)
    newest = found.current.number if found.current is not None else (numbers[0] if numbers else 0)
    to = version_numbered(found, request.GET.get("to") or newest)
    earlier = next((number for number in numbers if to is not None and number < to.number), None)
    start = version_numbered(found, request.GET.get("from") or earlier) or to
    if to is None or start is None:
        raise Http404(f"{found.name} has no such version.")
    one, other = TierTerms.of_version(start), TierTerms.of_version(to)
    context: dict[str, Any] = {
        "nav": "tiers",
        "tier": found,
        "one": start,
        "other": to,
        "versions": [start, to],
        "numbers": numbers,
        "groups": side_by_side(one, other),
        "changed": len(changes_between(one, other)),
        "may_change": request.user.is_authenticated and request.user.operates and found.archived_at is None,
    }
    return page(request, "pools/tier_diff.html", context)


@operates
@require_http_methods(["GET", "HEAD", "POST"])
def revert(request: HttpRequest, slug: str, number: int) -> HttpResponseBase:
    """An older version's terms again, as a new version: what would change, the preview, a reason, one button."""
    found = tier_for_change(slug)
    old = version_numbered(found, number)
    if old is None:
        raise Http404(f"{found.name} has no version {number}.")
    context: dict[str, Any] = {
        "title": f"Back to the terms of {old}",
        "lede": f"The terms of {old} come into force as a new version; history stays as it is.",
        "button": "Bring them back",
    }
    if request.method != "POST":
        return confirm_page(request, found, old, context)

    def deed() -> TierVersion:
        return tier_revert(
            actor=page_actor(request),
            now=now(),
            tier_id=found.pk,
            number=number,
            reason=reason_of(request),
            expected_version=number_of(request.POST.get("base", ""), 9),
            preview_token=request.POST.get("token", ""),
        )

    return confirmed(request, found, old, context, deed)


def confirmed(
    request: HttpRequest, tier: Tier, version: TierVersion, context: dict[str, Any], deed: Callable[[], TierVersion]
) -> HttpResponseBase:
    """Does what :func:`confirm_page` offered; a refusal shows the page again with the fresh preview."""
    try:
        made = deed()
    except DomainError as error:
        fresh = tier_for_change(tier.slug)
        context = {**context, "problem": error.sentence, **preview_now(fresh, TierTerms.of_version(version))}
        return confirm_page(request, fresh, version, context, status=error.status)
    if made.pk == tier.current_id:
        note(request, f"Nothing changed: {made} of {tier.name} says the same already.")
    else:
        undo = reverse("tier-undo", args=[tier.slug, made.number])
        note(request, f"{made} of {tier.name} is in force; limits follow within seconds.", undo=undo)
    return redirect("tier", tier.slug)


def confirm_page(
    request: HttpRequest, tier: Tier, version: TierVersion, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    """Terms of a version about to come into force, beside those that are, with their preview."""
    current = tier.current
    terms = TierTerms.of_version(version)
    usual = TierTerms.of_version(current) if current is not None else terms
    context = {
        "nav": "tiers",
        "tier": tier,
        "current": current,
        "version": version,
        "groups": side_by_side(usual, terms),
        "changed": len(changes_between(usual, terms)),
        "typed": typed_of(terms),
        "reason": reason_of(request),
        **context,
    }
    return page(request, "pools/tier_confirm.html", context, status=status)


@operates
@require_POST
def undo(request: HttpRequest, slug: str, number: int) -> HttpResponseBase:
    """Takes the publication of a version back, while it is still the one in force."""
    found = tier_for_change(slug)

    def deed() -> str:
        made = tier_publish_undo(actor=page_actor(request), now=now(), tier_id=found.pk, number=number)
        return f"v{number} is undone: {made} of {found.name} has the terms of before."

    return done(request, found, deed)


@operates
@require_POST
def plan_cancel(request: HttpRequest, slug: str, number: int) -> HttpResponseBase:
    """Calls a planned change off."""
    found = tier_for_change(slug)

    def deed() -> str:
        tier_schedule_cancel(
            actor=page_actor(request), now=now(), tier_id=found.pk, number=number, reason=reason_of(request)
        )
        return f"v{number} of {found.name} is called off."

    return done(request, found, deed, undo=reverse("tier-plan-again", args=[slug, number]))


@operates
@require_POST
def plan_again(request: HttpRequest, slug: str, number: int) -> HttpResponseBase:
    """Plans a change again that was called off."""
    found = tier_for_change(slug)

    def deed() -> str:
        made = tier_plan_again(actor=page_actor(request), now=now(), tier_id=found.pk, number=number)
        return f"{made} of {found.name} is planned for the same time as v{number} was."

    return done(request, found, deed)


def done(request: HttpRequest, tier: Tier, deed: Callable[[], str], undo: str = "") -> HttpResponseBase:
    """Does a deed of the tier's page and says so there, or why not."""
    with refusal_noted(request):
        said = deed()
        note(request, said, undo=undo)
    return redirect("tier", tier.slug)
