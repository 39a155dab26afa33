"""A preview as its panel shows it: pairs of before and after, an order of rows that does not jump, one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.conf import settings

from pools.models import Tier
from pools.services.preview import tier_preview
from pools.services.preview_types import Preview, PreviewPool, PreviewRow
from pools.services.tier_terms import TierTerms
from portal.lib.clock import now

NOTICEABLE = 0.005
DIMENSION_WORDS = ("tokens/s", "KV cache", "slots")
MOST_NAMES = 3


class Pair(NamedTuple):
    """Before and after; ``heading`` is up, down or "" where it stays."""

    before: float
    after: float

    @property
    def heading(self) -> str:
        """Which way it moves, if it moves noticeably."""
        if abs(self.after - self.before) <= NOTICEABLE * max(1e-9, abs(self.before), abs(self.after)):
            return ""
        return "up" if self.after > self.before else "down"


class ShownRow(NamedTuple):
    """One entitlement of the panel. ``below`` names the dimensions that fall below present use."""

    row: PreviewRow
    tokens: Pair
    kv: Pair
    slots: Pair
    weight: Pair
    headroom: tuple[Pair, Pair, Pair]
    share: Pair
    below: str


class ShownPool(NamedTuple):
    """One pool of the panel. ``over`` names the dimensions whose promises exceed what is ready."""

    pool: PreviewPool
    headroom: Pair
    ceilings: Pair
    wanted: Pair
    over: str


def preview_now(tier: Tier, terms: TierTerms) -> dict[str, Any]:
    """Context of the panel for these terms, computed now."""
    return preview_context(tier_preview(tier, terms, now()))


def preview_context(preview: Preview) -> dict[str, Any]:
    """Context of the panel."""
    rows = sorted(preview.rows, key=lambda row: (not row.below, not row.mine, row.pool_slug, row.tenant_slug))
    return {
        "preview": preview,
        "preview_rows": [_row(row) for row in rows],
        "preview_pools": [_pool(pool) for pool in preview.pools],
        "preview_sentence": sentence_of(preview),
        "currency": settings.CURRENCY,
    }


def sentence_of(preview: Preview) -> str:
    """What the change does, in one sentence."""
    if not preview.entitlements:
        return "Nobody lives under this tier yet, so nothing changes for anybody."
    if not preview.known:
        return "What it does to limits is not known right now."
    parts = [f"{preview.moved:,} of the limits move" if preview.moved else "No limit moves right now"]
    if preview.below:
        losing = [row.tenant for row in preview.rows if row.below]
        names = ", ".join(losing[:MOST_NAMES]) + ("…" if preview.below > min(len(losing), MOST_NAMES) else "")
        parts.append(f"{preview.below:,} {'falls' if preview.below == 1 else 'fall'} below present use: {names}")
    else:
        parts.append("nobody falls below present use")
    return "; ".join(parts) + "."


def _row(row: PreviewRow) -> ShownRow:
    tokens, kv, slots = _pairs(row.limit_before, row.limit_after)
    return ShownRow(
        row,
        tokens,
        kv,
        slots,
        Pair(row.weight_before, row.weight_after),
        _pairs(row.headroom_before, row.headroom_after),
        Pair(row.share_before, row.share_after),
        ", ".join(DIMENSION_WORDS[d] for d in row.below),
    )


def _pool(pool: PreviewPool) -> ShownPool:
    return ShownPool(
        pool,
        Pair(pool.headroom_before[2], pool.headroom_after[2]),
        Pair(max(pool.ceilings_before), max(pool.ceilings_after)),
        Pair(pool.wanted_before, pool.wanted_after),
        ", ".join(DIMENSION_WORDS[d] for d in pool.over_promised),
    )


def _pairs(before: Sequence[float], after: Sequence[float]) -> tuple[Pair, Pair, Pair]:
    return Pair(before[0], after[0]), Pair(before[1], after[1]), Pair(before[2], after[2])
