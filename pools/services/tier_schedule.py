"""Changes of terms with a date: they begin, end and are called off by themselves.

Of the published versions whose window is open the one that began last is in force; at its end the one before it is
again. Versions never change, so a change is called off by a newer version of the same window with the usual terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from pools.models import Tier, TierVersion
from pools.models.tiers import VersionStatus
from pools.selectors.tiers import tiers_planned
from pools.services.tier_spread import tier_spread_soon
from pools.services.tier_terms import TierTerms
from pools.services.tiers import tier_locked, version_add
from portal.audit.services import SYSTEM, Actor, audit_record, recorded
from portal.lib.errors import DomainError


@dataclass(frozen=True, slots=True)
class Turn:
    """A tier whose version in force changed by the clock."""

    tier_id: int
    before: int | None
    after: int


def tiers_reconcile(now: datetime) -> list[Turn]:
    """Puts every tier on the version whose window says so and ends shadows whose time is over. Safe at any time."""
    effective = dict(
        TierVersion.objects.filter(_open(now), status=VersionStatus.PUBLISHED, tier__archived_at__isnull=True)
        .order_by("tier_id", "-effective_from", "-number")
        .distinct("tier_id")
        .values_list("tier_id", "pk")
    )
    turns = []
    for tier in Tier.objects.filter(archived_at__isnull=True).select_related("shadow"):
        due = effective.get(tier.pk)
        if due is not None and due != tier.current_id and (turn := _turn(tier.pk, now)):
            turns.append(turn)
        if tier.shadow is not None and tier.shadow.effective_until is not None and tier.shadow.effective_until <= now:
            _shadow_over(tier.pk, now)
    return turns


def effective_of(tier_id: int, at: datetime, *, without: Sequence[int] = ()) -> TierVersion | None:
    """The version in force at a moment, as the schedule stands; ``without`` leaves versions out by id."""
    rows = TierVersion.objects.filter(_open(at), tier_id=tier_id, status=VersionStatus.PUBLISHED)
    return rows.exclude(pk__in=without).order_by("-effective_from", "-number").first()


def tier_upcoming(tier_id: int, now: datetime) -> list[TierVersion]:
    """Changes that will begin, the next first; one that was called off or covered by a newer one is left out."""
    return tiers_planned([tier_id], now).get(tier_id, [])


@recorded()
def tier_schedule_cancel(*, actor: Actor, now: datetime, tier_id: int, number: int, reason: str = "") -> TierVersion:
    """Calls off a change that has not begun. Raises DomainError ``not_found``, ``begun``."""
    tier = tier_locked(tier_id)
    planned = TierVersion.objects.filter(tier=tier, number=number, status=VersionStatus.PUBLISHED).first()
    if planned is None:
        raise DomainError("not_found", f"{tier.name} has no planned version {number}.", status=404)
    if planned.effective_from <= now:
        sentence = f"Version {number} began already; publish or revert instead."
        raise DomainError("begun", sentence, status=409)
    same = TierVersion.objects.filter(tier=tier, effective_from=planned.effective_from).values_list("pk", flat=True)
    usual = effective_of(tier.pk, planned.effective_from, without=list(same))
    if usual is None:
        raise DomainError("not_found", f"{tier.name} has no other version to keep to.", status=409)
    return version_add(
        actor,
        now,
        tier,
        TierTerms.of_version(usual),
        reason or f"Version {number} was called off.",
        reverts=planned,
        starts=planned.effective_from,
        ends=planned.effective_until,
    )


def _open(at: datetime) -> Q:
    return Q(effective_from__lte=at) & (Q(effective_until__isnull=True) | Q(effective_until__gt=at))


@recorded()
def _turn(tier_id: int, now: datetime) -> Turn | None:
    tier = tier_locked(tier_id)
    due, before = effective_of(tier_id, now), tier.current
    if due is None or due.pk == tier.current_id:
        return None
    tier.current = due
    tier.save(update_fields=["current"])
    ended = before is not None and before.effective_until is not None and before.effective_until <= now
    reason = f"Version {before.number} has ended." if ended and before else f"Version {due.number} begins as planned."
    audit_record(
        actor=SYSTEM,
        verb="tier_turn",
        target=tier,
        before={"version": before.number} if before else {},
        after={"version": due.number},
        reason=reason,
        now=now,
    )
    tier_spread_soon(tier.pk, now)
    return Turn(tier.pk, before.number if before else None, due.number)


@recorded()
def _shadow_over(tier_id: int, now: datetime) -> None:
    tier = tier_locked(tier_id)
    shadow = tier.shadow
    if shadow is None or shadow.effective_until is None or shadow.effective_until > now:
        return
    tier.shadow = None
    tier.save(update_fields=["shadow"])
    audit_record(
        actor=SYSTEM,
        verb="tier_shadow_stop",
        target=tier,
        before={"shadow": shadow.number},
        after={"shadow": None},
        reason="Its time is over.",
        now=now,
    )
