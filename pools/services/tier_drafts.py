"""Drafts: what one person typed into a tier's form, kept as typed. Private to its author and in force nowhere, so that
saving one is no change of the platform and leaves no audit record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pools.models import Tier, TierDraft, TierVersion
from portal.accounts.models import User
from portal.lib.errors import DomainError

LONGEST = 2000
"""Characters of one typed field that are kept."""


def tier_draft_save(
    *, user: User, now: datetime, tier: Tier, typed: Mapping[str, str], reason: str, based_on: int | None
) -> TierDraft:
    """Keeps what was typed, right or wrong. ``based_on`` is the number of the version the edit began at."""
    if tier.archived_at is not None:
        raise DomainError("archived", f"{tier.name} is archived; make a new tier.", status=409)
    base = TierVersion.objects.filter(tier=tier, number=based_on).first() if based_on is not None else None
    draft, _ = TierDraft.objects.update_or_create(
        tier=tier,
        author=user,
        defaults={
            "based_on": base or tier.current,
            "terms": {name: value[:LONGEST] for name, value in typed.items()},
            "reason": reason[:LONGEST],
            "updated_at": now,
        },
    )
    return draft


def tier_draft_of(user: User, tier: Tier) -> TierDraft | None:
    """The person's draft of a tier."""
    return TierDraft.objects.filter(tier=tier, author=user).select_related("based_on").first()


def tier_draft_discard(user: User, tier: Tier) -> None:
    """Throws the person's draft away."""
    TierDraft.objects.filter(tier=tier, author=user).delete()
