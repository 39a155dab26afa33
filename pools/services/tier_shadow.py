"""A version in shadow: judged beside the one in force on the requests that really come, never enforced."""

from __future__ import annotations

from datetime import datetime, timedelta

from pools.models import Tier, TierVersion
from pools.models.tiers import VersionStatus
from pools.services.tier_terms import TierTerms
from pools.services.tiers import tier_locked, tier_publish, version_add
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

SHADOW_LASTS = timedelta(days=7)
"""A forgotten shadow ends by itself."""


@recorded()
def tier_shadow_start(
    *, actor: Actor, now: datetime, tier_id: int, terms: TierTerms, reason: str = "", lasts: timedelta = SHADOW_LASTS
) -> TierVersion:
    """A new version that only watches; it takes the place of a shadow that runs. Raises DomainError ``bad_terms``,
    ``not_found``, ``archived``."""
    tier = tier_locked(tier_id)
    return version_add(actor, now, tier, terms, reason, ends=now + lasts, status=VersionStatus.SHADOW)


@recorded()
def tier_shadow_stop(*, actor: Actor, now: datetime, tier_id: int, reason: str = "") -> Tier:
    """Ends the shadow of a tier; its counts stay. Without one nothing happens."""
    tier = tier_locked(tier_id)
    if tier.shadow is None:
        return tier
    before = {"shadow": tier.shadow.number}
    tier.shadow = None
    tier.save(update_fields=["shadow"])
    audit_record(
        actor=actor,
        verb="tier_shadow_stop",
        target=tier,
        before=before,
        after={"shadow": None},
        reason=reason or "Stopped by an operator.",
        now=now,
    )
    return tier


@recorded()
def tier_shadow_resume(*, actor: Actor, now: datetime, tier_id: int, number: int, reason: str = "") -> Tier:
    """Lets a stopped shadow watch on, until the end it was given. Raises DomainError ``not_found``, ``archived``,
    ``shadow_over``."""
    tier = tier_locked(tier_id)
    shadow = TierVersion.objects.filter(tier=tier, number=number, status=VersionStatus.SHADOW).first()
    if shadow is None:
        raise DomainError("not_found", f"{tier.name} has no version {number} that ran in shadow.", status=404)
    if shadow.effective_until is not None and shadow.effective_until <= now:
        sentence = f"The time of version {number} in shadow ended; run its terms in shadow again."
        raise DomainError("shadow_over", sentence, status=409)
    before = {"shadow": tier.shadow.number if tier.shadow else None}
    tier.shadow = shadow
    tier.save(update_fields=["shadow"])
    audit_record(
        actor=actor,
        verb="tier_shadow",
        target=tier,
        before=before,
        after={"shadow": shadow.number},
        reason=reason or "Watches on.",
        now=now,
    )
    return tier


@recorded()
def tier_shadow_publish(
    *,
    actor: Actor,
    now: datetime,
    tier_id: int,
    reason: str = "",
    expected_version: int | None = None,
    preview_token: str | None = None,
) -> TierVersion:
    """Puts the terms in shadow in force as a new version and ends the shadow. Raises as ``tier_publish``, and
    ``no_shadow``."""
    tier = tier_locked(tier_id)
    shadow = tier.shadow
    if shadow is None:
        raise DomainError("no_shadow", f"{tier.name} has no version in shadow.", status=409)
    return tier_publish(
        actor=actor,
        now=now,
        tier_id=tier_id,
        terms=TierTerms.of_version(shadow),
        reason=reason or f"Version {shadow.number} ran in shadow.",
        expected_version=expected_version,
        preview_token=preview_token,
    )
