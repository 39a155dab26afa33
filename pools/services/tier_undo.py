"""What a page's Undo takes back: a publication, a plan that was called off. Each is a new version; history stays."""

from __future__ import annotations

from datetime import datetime

from pools.models import TierVersion
from pools.models.tiers import VersionStatus
from pools.services.tier_schedule import effective_of
from pools.services.tier_terms import TierTerms
from pools.services.tiers import tier_locked, tier_publish, tier_revert
from portal.audit.services import Actor, recorded
from portal.lib.errors import DomainError


@recorded()
def tier_publish_undo(*, actor: Actor, now: datetime, tier_id: int, number: int) -> TierVersion:
    """The terms that were in force before version ``number``, again. Raises DomainError ``version_moved`` when another
    version is in force by now, ``nothing_before``, and as ``tier_revert``."""
    tier = tier_locked(tier_id)
    current = tier.current
    if current is None or current.number != number:
        where = f"version {current.number}" if current else "no version"
        sentence = f"{tier.name} is at {where} by now, so version {number} was not undone; look at its history."
        raise DomainError("version_moved", sentence, status=412)
    before = effective_of(tier.pk, current.effective_from, without=[current.pk])
    if before is None:
        raise DomainError("nothing_before", f"{tier.name} had no terms before version {number}.", status=409)
    reason = f"Undone: version {number}."
    return tier_revert(
        actor=actor, now=now, tier_id=tier_id, number=before.number, reason=reason, expected_version=number
    )


@recorded()
def tier_plan_again(*, actor: Actor, now: datetime, tier_id: int, number: int) -> TierVersion:
    """A change that was called off, planned once more for the same time. Raises DomainError ``not_found``,
    ``bad_window`` when its time has come meanwhile."""
    tier = tier_locked(tier_id)
    planned = TierVersion.objects.filter(tier=tier, number=number, status=VersionStatus.PUBLISHED).first()
    if planned is None or planned.reverts_id is not None:
        raise DomainError("not_found", f"{tier.name} has no plan {number}.", status=404)
    return tier_publish(
        actor=actor,
        now=now,
        tier_id=tier_id,
        terms=TierTerms.of_version(planned),
        reason=planned.reason or f"Planned again: version {number}.",
        starts=planned.effective_from,
        ends=planned.effective_until,
    )
