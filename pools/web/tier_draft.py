"""A draft of a tier's terms: kept, thrown away, and each of these taken back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from pools.models import Tier, TierDraft
from pools.services.tier_drafts import tier_draft_discard, tier_draft_save, tier_draft_undo
from pools.web.tiers import tier_of
from portal.accounts.access import operates
from portal.accounts.models import User
from portal.lib.clock import now
from portal.lib.pages import note, refusal_noted


def draft_keep(
    request: HttpRequest, tier: Tier, typed: Mapping[str, str], reason: str, based_on: int | None
) -> HttpResponseBase:
    """Keeps what is typed; a draft that was there before can be had back."""
    user = cast(User, request.user)
    draft = tier_draft_save(user=user, now=now(), tier=tier, typed=typed, reason=reason, based_on=based_on)
    replaced = "It replaces the draft you had. " if draft.before and not draft.before["gone"] else ""
    text = f"Your draft is kept. {replaced}Only you see it, and it is in force nowhere."
    note(request, text, undo=_undo_of(tier, draft))
    return redirect("tier-edit", tier.slug)


def draft_discard(request: HttpRequest, tier: Tier) -> HttpResponseBase:
    """Throws the draft away, if there is one."""
    draft = tier_draft_discard(user=cast(User, request.user), now=now(), tier=tier)
    if draft is None:
        note(request, "There is no draft of yours.")
    else:
        note(request, "Your draft is gone.", undo=_undo_of(tier, draft))
    return redirect("tier", tier.slug)


@operates
@require_POST
def draft_undo(request: HttpRequest, slug: str, revision: int) -> HttpResponseBase:
    """Takes the last deed on one's own draft back."""
    tier = tier_of(slug)
    with refusal_noted(request):
        draft = tier_draft_undo(user=cast(User, request.user), now=now(), tier=tier, revision=revision)
        said = "Your draft is gone again." if draft.gone else "Your draft is as it was before."
        note(request, said, undo=_undo_of(tier, draft))
        if not draft.gone and tier.archived_at is None:
            return redirect("tier-edit", tier.slug)
    return redirect("tier", tier.slug)


def _undo_of(tier: Tier, draft: TierDraft) -> str:
    return reverse("tier-draft-undo", args=[tier.slug, draft.revision])
