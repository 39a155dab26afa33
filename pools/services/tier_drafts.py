"""Drafts: what one person typed into a tier's form, kept as typed. Private to its author and in force nowhere, so that
saving one is no change of the platform and leaves no audit record.

Each deed on a draft keeps what was there before it, so that the last one can be taken back: what was replaced or thrown
away is there again, a first draft is gone again, and taking back can itself be taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from pools.models import Tier, TierDraft, TierVersion
from portal.accounts.models import User
from portal.lib.errors import DomainError

LONGEST = 2000
"""Characters of one typed field that are kept."""


@transaction.atomic
def tier_draft_save(
    *, user: User, now: datetime, tier: Tier, typed: Mapping[str, str], reason: str, based_on: int | None
) -> TierDraft:
    """Keeps what was typed, right or wrong. ``based_on`` is the number of the version the edit began at."""
    if tier.archived_at is not None:
        raise DomainError("archived", f"{tier.name} is archived; make a new tier.", status=409)
    named = TierVersion.objects.filter(tier=tier, number=based_on).first() if based_on is not None else None
    base = named or tier.current
    draft, _ = TierDraft.objects.select_for_update(of=("self",)).get_or_create(
        tier=tier, author=user, defaults={"terms": {}, "gone": True, "updated_at": now}
    )
    after = {
        "gone": False,
        "based_on_id": base.pk if base is not None else None,
        "terms": {name: value[:LONGEST] for name, value in typed.items()},
        "reason": reason[:LONGEST],
    }
    return _moved(draft, after, now)


def tier_draft_of(user: User, tier: Tier) -> TierDraft | None:
    """The person's draft of a tier."""
    return TierDraft.objects.filter(tier=tier, author=user, gone=False).select_related("based_on").first()


@transaction.atomic
def tier_draft_discard(*, user: User, now: datetime, tier: Tier) -> TierDraft | None:
    """Throws the person's draft away; what it said is kept for an undo. None when there was none."""
    draft = TierDraft.objects.select_for_update().filter(tier=tier, author=user, gone=False).first()
    return _moved(draft, {**_kept(draft), "gone": True}, now) if draft is not None else None


@transaction.atomic
def tier_draft_undo(*, user: User, now: datetime, tier: Tier, revision: int) -> TierDraft:
    """Takes back the person's deed that made ``revision`` of the draft. Raises DomainError ``moved_on`` when it was
    saved or discarded again since, or its terms were published."""
    draft = TierDraft.objects.select_for_update().filter(tier=tier, author=user).first()
    if draft is None or draft.revision != revision or draft.before is None:
        sentence = f"Your draft of {tier.name} was saved, discarded or published again since, so nothing was put back."
        raise DomainError("moved_on", sentence, status=409)
    return _moved(draft, draft.before, now)


def tier_draft_spent(user: User, tier: Tier) -> None:
    """Removes a draft whose terms were published, planned or put in shadow: a version says them now."""
    TierDraft.objects.filter(tier=tier, author=user).delete()


def _kept(draft: TierDraft) -> dict[str, Any]:
    return {"gone": draft.gone, "based_on_id": draft.based_on_id, "terms": draft.terms, "reason": draft.reason}


def _moved(draft: TierDraft, after: Mapping[str, Any], now: datetime) -> TierDraft:
    """The draft as ``after`` says, with what it was kept beside it."""
    draft.before, draft.revision, draft.updated_at = _kept(draft), draft.revision + 1, now
    for name, value in after.items():
        setattr(draft, name, value)
    draft.save()
    return draft
