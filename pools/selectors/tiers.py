"""Tiers as their pages read them: the list, planned changes, a page of versions, what each version is doing now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, Count, IntegerField, Q, QuerySet, Value, When

from pools.choices import EntitlementState, ServiceClass
from pools.models import Entitlement, Tier, TierVersion
from pools.models.tiers import VersionStatus
from portal.lib.given import number_of

PAGE = 50
VERSIONS_PAGE = 30
LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class TierLine:
    """One line of the list; ``planned`` is the next change that will begin, ``ends`` when the terms in force end."""

    tier: Tier
    entitlements: int
    pools: int
    planned: TierVersion | None
    ends: datetime | None


@dataclass(frozen=True, slots=True)
class TierPage:
    """One page of the list; ``next`` is the cursor of the next one, "" at the end."""

    lines: list[TierLine]
    next: str


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One line of the history; ``state``: in force, planned, called off, calls off vN, in shadow, watched, past."""

    version: TierVersion
    state: str


def tiers_page(text: str, service_class: str, archived: bool, cursor: str, now: datetime, most: int = PAGE) -> TierPage:
    """Tiers by class, strongest first, then by slug. Three queries."""
    rank = Case(
        *(When(service_class=each.value, then=Value(place)) for place, each in enumerate(ServiceClass)),
        output_field=IntegerField(),
    )
    rows: QuerySet[Any] = Tier.objects.filter(archived_at__isnull=not archived)
    rows = rows.select_related("current", "shadow").annotate(place=rank)
    if text := text.strip()[:LONGEST_TEXT]:
        rows = rows.filter(Q(slug__icontains=text) | Q(name__icontains=text))
    if service_class in list(ServiceClass):
        rows = rows.filter(service_class=service_class)
    place, _, slug = cursor.partition("-")
    if (at := number_of(place, 2)) is not None:
        rows = rows.filter(Q(place__gt=at) | Q(place=at, slug__gt=slug))
    found = list(rows.order_by("place", "slug")[: most + 1])
    shown = found[:most]
    ids = [tier.pk for tier in shown]
    planned, living = tiers_planned(ids, now), _living(ids)
    lines = [
        TierLine(tier, *living.get(tier.pk, (0, 0)), next(iter(planned.get(tier.pk, [])), None), _ends(tier))
        for tier in shown
    ]
    return TierPage(lines, f"{shown[-1].place}-{shown[-1].slug}" if len(found) > most else "")


def tiers_planned(tier_ids: Sequence[int], now: datetime) -> dict[int, list[TierVersion]]:
    """Changes that will begin, by tier, the next first; one that was called off or covered by a newer one is left out.
    One query."""
    rows = TierVersion.objects.filter(
        tier_id__in=tier_ids, status=VersionStatus.PUBLISHED, effective_from__gt=now
    ).order_by("effective_from", "number")
    latest: dict[tuple[int, datetime], TierVersion] = {}
    for row in rows:
        latest[row.tier_id, row.effective_from] = row
    found: dict[int, list[TierVersion]] = {}
    for row in latest.values():
        if row.reverts_id is None:
            found.setdefault(row.tier_id, []).append(row)
    return found


def versions_page(
    tier: Tier, before: str, planned: Sequence[TierVersion], now: datetime
) -> tuple[list[VersionLine], int | None]:
    """The newest versions below number ``before``, and the cursor of the next page. One query."""
    rows = TierVersion.objects.filter(tier=tier).select_related("reverts").defer("author")
    if (below := number_of(before, 9)) is not None:
        rows = rows.filter(number__lt=below)
    found = list(rows.order_by("-number")[: VERSIONS_PAGE + 1])
    coming = {row.pk for row in planned}
    lines = [VersionLine(row, _state(row, tier, coming, now)) for row in found[:VERSIONS_PAGE]]
    return lines, lines[-1].version.number if len(found) > VERSIONS_PAGE else None


def version_numbered(tier: Tier, number: str | int | None) -> TierVersion | None:
    """A version by its number as it comes in an address; None for anything else."""
    wanted = number_of(str(number or ""), 9)
    if wanted is None:
        return None
    return TierVersion.objects.filter(tier=tier, number=wanted).select_related("reverts").first()


def version_numbers(tier: Tier, most: int = 200) -> list[int]:
    """The newest numbers, for choosing."""
    return list(TierVersion.objects.filter(tier=tier).order_by("-number").values_list("number", flat=True)[:most])


def _living(tier_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """(living entitlements, pools they are in) by tier; grouping is far cheaper than counting distinct pools."""
    homes = (
        Entitlement.objects.filter(tier_id__in=tier_ids)
        .exclude(state=EntitlementState.EXPIRED.value)
        .values("tier_id", "pool_id")
        .annotate(held=Count("pk"))
        .order_by()
        .values_list("tier_id", "held")
    )
    found: dict[int, tuple[int, int]] = {}
    for tier_id, held in homes:
        entitlements, pools = found.get(tier_id, (0, 0))
        found[tier_id] = entitlements + held, pools + 1
    return found


def _state(row: TierVersion, tier: Tier, coming: set[int], now: datetime) -> str:
    if row.pk == tier.current_id:
        return "in force"
    if row.pk == tier.shadow_id:
        return "in shadow"
    if row.status == VersionStatus.SHADOW:
        return "watched"
    if row.effective_from > now and row.reverts is not None:
        return f"calls off {row.reverts}"
    if row.effective_from > now:
        return "planned" if row.pk in coming else "called off"
    return "past"


def _ends(tier: Tier) -> datetime | None:
    return tier.current.effective_until if tier.current is not None else None
