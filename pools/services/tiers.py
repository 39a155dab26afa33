"""Tiers: a named product on one service class; a change of its terms is a new version.

A version is in force from ``effective_from`` to ``effective_until``; of several whose window is open the one that began
last counts (``tier_schedule`` lets them begin and end). A version in shadow is never in force (``tier_shadow``).
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Max

from pools.choices import EntitlementState, ServiceClass
from pools.models import Entitlement, Tier, TierVersion
from pools.models.tiers import VersionStatus
from pools.services.preview_state import token_check
from pools.services.tier_spread import tier_spread_soon
from pools.services.tier_terms import TierTerms, terms_problems
from portal.accounts.services import slug_check
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

__all__ = [
    "TierTerms",
    "terms_problems",
    "tier_archive",
    "tier_create",
    "tier_locked",
    "tier_publish",
    "tier_restore",
    "tier_revert",
    "version_add",
]
RESERVED_SLUGS = ("new",)
"""Addresses of pages beside the tiers' own."""


@recorded()
def tier_create(
    *,
    actor: Actor,
    now: datetime,
    slug: str,
    name: str,
    service_class: str,
    terms: TierTerms | None = None,
    reason: str = "",
) -> Tier:
    """A new tier with its first version. Raises DomainError ``slug_taken``, ``bad_slug``, ``bad_class``,
    ``bad_terms``."""
    slug_check(slug, "tier")
    if slug in RESERVED_SLUGS:
        sentence = f"{slug!r} is the address of a page of the portal; choose another slug."
        raise DomainError("bad_slug", sentence, fields={"slug": sentence})
    if service_class not in list(ServiceClass):
        sentence = f"The class is one of {', '.join(ServiceClass)}, got {service_class!r}."
        raise DomainError("bad_class", sentence, fields={"service_class": sentence})
    try:
        with transaction.atomic():
            tier = Tier.objects.create(slug=slug, name=name or slug, service_class=service_class, created_at=now)
    except IntegrityError:
        sentence = f"There is a tier {slug!r} already; choose another slug or publish a new version of it."
        raise DomainError("slug_taken", sentence, status=409, fields={"slug": sentence}) from None
    version_add(actor, now, tier, terms or TierTerms.of_class(service_class), reason)
    return tier


@recorded()
def tier_publish(
    *,
    actor: Actor,
    now: datetime,
    tier_id: int,
    terms: TierTerms,
    reason: str = "",
    expected_version: int | None = None,
    reverts: TierVersion | None = None,
    starts: datetime | None = None,
    ends: datetime | None = None,
    preview_token: str | None = None,
) -> TierVersion:
    """New terms for every entitlement of a tier, in force at once or from ``starts``, and until ``ends`` where given.

    The same terms again, at once and for good, change nothing. ``preview_token``: refuse unless these terms were
    previewed on the state as it is now. Raises DomainError ``not_found``, ``archived``, ``bad_terms``, ``bad_window``,
    ``version_moved`` when ``expected_version`` is no longer current, ``preview_stale``, ``preview_missing``.
    """
    tier = tier_locked(tier_id)
    current = tier.current
    if current is not None and expected_version is not None and current.number != expected_version:
        raise DomainError(
            "version_moved",
            f"{tier.name} is at version {current.number}, your edit began at {expected_version}: look at it again.",
            status=412,
        )
    _window_check(now, starts, ends)
    problems = terms_problems(ServiceClass(tier.service_class), terms)
    if problems:
        raise DomainError("bad_terms", " ".join(problems.values()), fields=problems)
    if preview_token is not None:
        token_check(preview_token, tier.pk, tier.current_id, terms)
    for_good = (starts is None or starts <= now) and ends is None
    if for_good and current is not None and current.effective_until is None and _same(current, terms):
        return current
    return version_add(actor, now, tier, terms, reason, reverts=reverts, starts=starts, ends=ends)


def tier_revert(
    *,
    actor: Actor,
    now: datetime,
    tier_id: int,
    number: int,
    reason: str = "",
    expected_version: int | None = None,
    preview_token: str | None = None,
) -> TierVersion:
    """The terms of an earlier version again, as a new version. Raises as :func:`tier_publish`."""
    old = TierVersion.objects.filter(tier_id=tier_id, number=number).first()
    if old is None:
        raise DomainError("not_found", f"This tier has no version {number}.", status=404)
    return tier_publish(
        actor=actor,
        now=now,
        tier_id=tier_id,
        terms=TierTerms.of_version(old),
        reason=reason or f"Back to the terms of version {number}.",
        expected_version=expected_version,
        reverts=old,
        preview_token=preview_token,
    )


@recorded()
def tier_archive(*, actor: Actor, now: datetime, tier_id: int, reason: str = "") -> Tier:
    """Puts away a tier nobody lives under; its history stays. Raises DomainError ``tier_in_use``, ``not_found``."""
    tier = tier_locked(tier_id)
    living = Entitlement.objects.filter(tier=tier).exclude(state=EntitlementState.EXPIRED.value).count()
    if living:
        raise DomainError(
            "tier_in_use",
            f"{living} {'entitlement lives' if living == 1 else 'entitlements live'} under {tier.name}; "
            "move or end them first.",
            status=409,
        )
    tier.archived_at, tier.shadow = now, None
    tier.save(update_fields=["archived_at", "shadow"])
    after = {"archived_at": now}
    audit_record(actor=actor, verb="tier_archive", target=tier, before={}, after=after, reason=reason, now=now)
    return tier


@recorded()
def tier_restore(*, actor: Actor, now: datetime, tier_id: int, reason: str = "") -> Tier:
    """Takes a tier out of the archive; one that is not archived stays as it is. Raises DomainError ``not_found``."""
    tier = Tier.objects.select_for_update(no_key=True).filter(pk=tier_id).first()
    if tier is None:
        raise DomainError("not_found", f"There is no tier {tier_id}.", status=404)
    if tier.archived_at is None:
        return tier
    before = {"archived_at": tier.archived_at}
    tier.archived_at = None
    tier.save(update_fields=["archived_at"])
    after = {"archived_at": None}
    audit_record(actor=actor, verb="tier_restore", target=tier, before=before, after=after, reason=reason, now=now)
    return tier


def tier_locked(tier_id: int) -> Tier:
    """The tier's row under a lock until the transaction ends. Raises DomainError ``not_found``, ``archived``."""
    tier = Tier.objects.select_for_update(of=("self",), no_key=True).select_related("current", "shadow")
    found = tier.filter(pk=tier_id).first()
    if found is None:
        raise DomainError("not_found", f"There is no tier {tier_id}.", status=404)
    if found.archived_at is not None:
        raise DomainError("archived", f"{found.name} is archived; make a new tier.", status=409)
    return found


def version_add(
    actor: Actor,
    now: datetime,
    tier: Tier,
    terms: TierTerms,
    reason: str,
    *,
    reverts: TierVersion | None = None,
    starts: datetime | None = None,
    ends: datetime | None = None,
    status: VersionStatus = VersionStatus.PUBLISHED,
) -> TierVersion:
    """One more version of a locked tier; in force at once when it is published and its window is open."""
    problems = terms_problems(ServiceClass(tier.service_class), terms)
    if problems:
        raise DomainError("bad_terms", " ".join(problems.values()), fields=problems)
    before = tier.current
    newest = TierVersion.objects.filter(tier=tier).aggregate(most=Max("number"))["most"] or 0
    begins = starts if starts is not None and starts > now else now
    version = TierVersion.objects.create(
        tier=tier,
        number=newest + 1,
        status=status,
        author=actor.user,
        author_label=actor.name[:254],
        reason=reason,
        reverts=reverts,
        effective_from=begins,
        effective_until=ends,
        created_at=now,
        **asdict(terms),
    )
    at_once = status == VersionStatus.PUBLISHED and begins <= now
    if at_once:
        tier.current = version
        if tier.shadow is not None and _same(tier.shadow, terms):
            tier.shadow = None  # what was watched is in force now
        tier.save(update_fields=["current", "shadow"])
    elif status == VersionStatus.SHADOW:
        tier.shadow = version
        tier.save(update_fields=["shadow"])
    verb = "tier_publish" if at_once else "tier_shadow" if status == VersionStatus.SHADOW else "tier_schedule"
    after = {"version": version.number, **asdict(terms)}
    if begins > now or ends is not None:
        after |= {"effective_from": begins, "effective_until": ends}
    audit_record(
        actor=actor,
        verb=verb,
        target=tier,
        before={"version": before.number, **asdict(TierTerms.of_version(before))} if before else {},
        after=after,
        reason=reason,
        now=now,
    )
    if at_once:
        tier_spread_soon(tier.pk, now)
    return version


def _same(version: TierVersion, terms: TierTerms) -> bool:
    return TierTerms.of_version(version).canonical() == terms.canonical()


def _window_check(now: datetime, starts: datetime | None, ends: datetime | None) -> None:
    begins = starts if starts is not None else now
    if starts is not None and starts < now:
        sentence = f"The change would begin at {starts:%Y-%m-%d %H:%M} UTC, which is past; leave it empty to begin now."
        raise DomainError("bad_window", sentence, fields={"starts": sentence})
    if ends is not None and ends <= begins:
        sentence = f"The change would end at {ends:%Y-%m-%d %H:%M} UTC, before it begins at {begins:%Y-%m-%d %H:%M}."
        raise DomainError("bad_window", sentence, fields={"ends": sentence})
