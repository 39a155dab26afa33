"""The edit of a tier: a form with its live preview beside it; draft, shadow, publication now or planned.

What is published was previewed: the form carries the token of the preview that was shown. A token whose state moved, or
a version that somebody else published meanwhile, is refused together with the fresh preview.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from pools.choices import CLASS_RULES, ServiceClass
from pools.models import Tier, TierDraft, TierVersion
from pools.selectors.tiers import version_numbered, version_numbers
from pools.services.tier_drafts import tier_draft_of, tier_draft_spent
from pools.services.tier_shadow import tier_shadow_start
from pools.services.tier_terms import TierTerms
from pools.services.tiers import tier_publish
from pools.web.tier_draft import draft_discard, draft_keep
from pools.web.tier_form import Typed, field_groups, typed_of, typed_read
from pools.web.tier_merge import Conflict, conflict_of, merged_values
from pools.web.tier_preview import preview_now
from pools.web.tiers import tier_of
from portal.accounts.access import operates
from portal.accounts.models import User
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import LONGEST_REASON, reason_of
from portal.lib.pages import note, page

RECENT = 8
MOMENTS = {"starts": "Begins", "ends": "Ends"}
DATED = "This has dates: plan the change, or empty them to publish now."
UNDATED = "Say when the change begins, when it ends, or both; or publish now."


@dataclass
class Sheet:
    """The form's state on its way to the page."""

    tier: Tier
    typed: Typed
    base: TierVersion | None
    reason: str = ""
    starts: str = ""
    ends: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    conflict: Conflict | None = None
    draft: TierDraft | None = None
    with_preview: bool = False


@operates
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The form. GET begins at one's draft, else at the terms in force, or at ``?from=`` an older version."""
    found = tier_for_change(slug)
    if request.method == "POST":
        return _sent(request, found)
    user, typed, base, reason, draft = cast(User, request.user), None, found.current, "", None
    older = version_numbered(found, request.GET.get("from"))
    if older is not None:
        typed, reason = typed_of(TierTerms.of_version(older)), f"As in version {older.number}."
    elif (draft := tier_draft_of(user, found)) is not None:
        typed, reason, base = draft.terms, draft.reason, draft.based_on or found.current
    if typed is None:
        typed = typed_of(
            TierTerms.of_version(found.current) if found.current else TierTerms.of_class(found.service_class)
        )
    sheet = Sheet(found, typed_read(typed, found.service_class), base, reason, draft=draft)
    if draft is not None and sheet.typed.terms is not None:
        sheet.conflict = conflict_of(found, base, sheet.typed.terms)
    return _form(request, sheet)


@operates
@require_POST
def preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The panel beside the form, for the terms as they are typed now. Changes nothing."""
    found = tier_for_change(slug)
    typed = typed_read(request.POST, found.service_class)
    context: dict[str, Any] = {"tier": found, "problems": list(typed.errors.values())}
    if typed.terms is not None:
        context |= preview_now(found, typed.terms)
    return page(request, "pools/_tier_preview.html", context, kept=False)


def tier_for_change(slug: str) -> Tier:
    """The tier, unless it is archived: then DomainError ``archived``."""
    found = tier_of(slug)
    if found.archived_at is not None:
        sentence = f"{found.name} is archived, so its terms cannot change. Restore it first, or make a new tier."
        raise DomainError("archived", sentence, status=409)
    return found


def _sent(request: HttpRequest, found: Tier) -> HttpResponseBase:
    deed, data = request.POST.get("deed", "preview"), request.POST
    sheet = Sheet(
        found,
        typed_read(data, found.service_class),
        version_numbered(found, data.get("base")) or found.current,
        reason_of(request),
        data.get("starts", "").strip()[:40],
        data.get("ends", "").strip()[:40],
        draft=tier_draft_of(cast(User, request.user), found),
    )
    if deed == "draft":
        return draft_keep(request, found, sheet.typed.values, sheet.reason, sheet.base.number if sheet.base else None)
    if deed == "discard":
        return draft_discard(request, found)
    if deed == "merge":
        return _merge(request, sheet)
    sheet.errors = dict(sheet.typed.errors)
    window = _window(sheet, deed)
    if sheet.errors or sheet.typed.terms is None:
        return _form(request, sheet, status=422)
    if deed not in DEEDS:
        sheet.with_preview = True
        return _form(request, sheet)
    try:
        DEEDS[deed](request, sheet, sheet.typed.terms, *window)
    except DomainError as error:
        return _refused(request, sheet, error)
    tier_draft_spent(cast(User, request.user), found)
    return redirect("tier", found.slug)


def _window(sheet: Sheet, deed: str) -> tuple[datetime | None, datetime | None]:
    """Both ends of the change; puts sentences into the sheet's errors."""
    found: list[datetime | None] = []
    for name, word in MOMENTS.items():
        text = getattr(sheet, name)
        try:
            moment = datetime.fromisoformat(text) if text else None
        except ValueError:
            sheet.errors[name] = f"{word}: write a date and time such as 2027-01-31T00:00, got “{text}”."
            moment = None
        found.append(moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment)
    dated = bool(sheet.starts or sheet.ends)
    if deed in ("publish", "shadow") and dated:
        sheet.errors.setdefault("starts", DATED)
    elif deed == "schedule" and not dated:
        sheet.errors["starts"] = UNDATED
    return found[0], found[1]


def _publish(
    request: HttpRequest, sheet: Sheet, terms: TierTerms, starts: datetime | None, ends: datetime | None
) -> None:
    tier = sheet.tier
    made = tier_publish(
        actor=page_actor(request),
        now=now(),
        tier_id=tier.pk,
        terms=terms,
        reason=sheet.reason,
        expected_version=sheet.base.number if sheet.base else None,
        starts=starts,
        ends=ends,
        preview_token=request.POST.get("token", ""),
    )
    if tier.current_id == made.pk:
        note(request, f"Nothing changed: {made} of {tier.name} says the same already.")
    elif made.effective_from > now():
        undo = reverse("tier-plan-cancel", args=[tier.slug, made.number])
        note(request, f"{made} of {tier.name} is planned; it begins by itself.", undo=undo)
    else:
        undo = reverse("tier-undo", args=[tier.slug, made.number])
        note(request, f"{made} of {tier.name} is in force; limits follow within seconds.", undo=undo)


def _shadow(
    request: HttpRequest, sheet: Sheet, terms: TierTerms, starts: datetime | None, ends: datetime | None
) -> None:
    made = tier_shadow_start(
        actor=page_actor(request), now=now(), tier_id=sheet.tier.pk, terms=terms, reason=sheet.reason
    )
    undo = reverse("tier-shadow-stop", args=[sheet.tier.slug])
    note(request, f"{made} of {sheet.tier.name} runs in shadow: it is judged and counted, not enforced.", undo=undo)


DEEDS = {"publish": _publish, "schedule": _publish, "shadow": _shadow}


def _merge(request: HttpRequest, sheet: Sheet) -> HttpResponse:
    """The form again with both edits in it, begun anew at the version in force."""
    conflict = conflict_of(sheet.tier, sheet.base, sheet.typed.terms) if sheet.typed.terms is not None else None
    if conflict is None:
        return _form(request, sheet, status=422 if sheet.typed.errors else 200)
    values = merged_values(conflict, sheet.typed, request.POST)
    sheet.typed, sheet.base = typed_read(values, sheet.tier.service_class), conflict.current
    return _form(request, sheet)


def _refused(request: HttpRequest, sheet: Sheet, error: DomainError) -> HttpResponse:
    """The form with what was typed, the reason of the refusal, and the fresh preview."""
    sheet.tier = tier_for_change(sheet.tier.slug)
    sheet.errors |= error.fields
    sheet.problem = "" if error.fields else error.sentence
    sheet.with_preview = True
    if error.code == "version_moved" and sheet.typed.terms is not None:
        sheet.conflict = conflict_of(sheet.tier, sheet.base, sheet.typed.terms)
    return _form(request, sheet, status=422 if error.fields else error.status)


def _form(request: HttpRequest, sheet: Sheet, status: int = 200) -> HttpResponse:
    tier, terms = sheet.tier, sheet.typed.terms
    errors = sheet.errors or (sheet.typed.errors if status == 422 or sheet.draft is not None else {})
    if sheet.conflict is not None and terms is not None:
        terms = typed_read(merged_values(sheet.conflict, sheet.typed, {}), tier.service_class).terms
    numbers = version_numbers(tier, RECENT)
    context: dict[str, Any] = {
        "nav": "tiers",
        "tier": tier,
        "current": tier.current,
        "base": sheet.base,
        "rule": CLASS_RULES[ServiceClass(tier.service_class)],
        "groups": list(field_groups(sheet.typed.values, errors, tier.service_class)),
        "typed": sheet.typed.values,
        "errors": errors if status == 422 else {},
        "problem": sheet.problem,
        "conflict": sheet.conflict,
        "draft": sheet.draft,
        "reason": sheet.reason[:LONGEST_REASON],
        "starts": sheet.starts,
        "ends": sheet.ends,
        "recent": numbers,
        "next_number": numbers[0] + 1 if numbers else 1,
    }
    if terms is None:
        context["problems"] = list(sheet.typed.errors.values())
    elif sheet.with_preview or sheet.conflict is not None:
        context |= preview_now(tier, terms)
    return page(request, "pools/tier_edit.html", context, status=status)
