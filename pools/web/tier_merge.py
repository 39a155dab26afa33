"""Two edits of one tier that met: what each changed since both began, field by field, and the terms made of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pools.models import Tier, TierVersion
from pools.models.tiers import VersionStatus
from pools.services.tier_terms import MergeField, TierTerms, three_way
from pools.web.tier_form import BY_NAME, Typed, typed_of, value_text, value_words

SIDES = ("theirs", "ours")
WORDS = {"theirs": "they changed it", "ours": "you changed it", "both": "both changed it", "alike": "both alike"}


class MergeRow(NamedTuple):
    """One field of the table: three values in words, who changed it, which side is taken unless told otherwise."""

    name: str
    label: str
    base: str
    theirs: str
    ours: str
    changed: str
    take: str
    alike: bool


class Conflict(NamedTuple):
    """The two edits: where both began, what was published since (newest first), the fields that differ."""

    base: TierVersion
    current: TierVersion
    since: list[TierVersion]
    rows: list[MergeRow]
    fields: list[MergeField]

    @property
    def both(self) -> int:
        """Fields both changed differently."""
        return sum(field.changed_by == "both" for field in self.fields)


def conflict_of(tier: Tier, base: TierVersion | None, ours: TierTerms) -> Conflict | None:
    """What happened between the version an edit began at and the one in force; None while they are the same."""
    current = tier.current
    if current is None or base is None or base.pk == current.pk:
        return None
    fields = three_way(TierTerms.of_version(base), TierTerms.of_version(current), ours)
    since = TierVersion.objects.filter(
        tier=tier, status=VersionStatus.PUBLISHED, number__gt=base.number, effective_from__lte=current.effective_from
    )
    return Conflict(base, current, list(since.order_by("-number")[:10]), [_row(field) for field in fields], fields)


def merged_values(conflict: Conflict, typed: Typed, chosen: Mapping[str, str]) -> dict[str, str]:
    """The form's texts of the merge: theirs where nothing was typed differently, else as ``take-<field>`` says."""
    values = typed_of(TierTerms.of_version(conflict.current))
    for field in conflict.fields:
        side = chosen.get(f"take-{field.name}", "")
        if side not in SIDES:
            side = _take(field)
        values[field.name] = value_text(BY_NAME[field.name], field.theirs if side == "theirs" else field.ours)
    return values


def _take(field: MergeField) -> str:
    return "theirs" if field.changed_by in ("theirs", "alike") else "ours"


def _row(field: MergeField) -> MergeRow:
    def words(value: Any) -> str:
        return value_words(field.name, value)

    return MergeRow(
        field.name,
        BY_NAME[field.name].label,
        words(field.base),
        words(field.theirs),
        words(field.ours),
        WORDS[field.changed_by],
        _take(field),
        field.changed_by == "alike",
    )
