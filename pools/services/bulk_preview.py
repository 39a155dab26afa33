"""What a bulk edit would do: each entitlement before and after, who is refused, whether each pool can carry all."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pools.mechanism.lease import LeaseFit
from pools.mechanism.ordering import ClassCode
from pools.mechanism.windows import Window, fit_within
from pools.models import Entitlement, Pool
from pools.services.amounts import NOTHING
from pools.services.bulk_actions import Action, planned, shown
from pools.services.entitlements import entitlement_findings
from pools.services.spans import span_of, spans_of
from pools.services.supply import supplies_of
from portal.lib.errors import DomainError

MOST_ITEMS = 10_000


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """``outcome`` is change, unchanged or refused; ``changed`` names the keys that differ."""

    row: Entitlement
    outcome: str
    before: dict[str, Any]
    after: dict[str, Any]
    changed: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class PoolFit:
    """One pool with everything of the set in it: the verdict over the whole."""

    pool: Pool
    items: int
    fit: LeaseFit


@dataclass(frozen=True, slots=True)
class BulkPreview:
    """``digest`` names the set and its present revisions: a job is refused when they moved."""

    action: Action
    items: list[PlannedItem]
    counts: dict[str, int]
    pools: list[PoolFit]
    digest: str


def selected(ids: Iterable[int]) -> list[Entitlement]:
    """The entitlements by pool and id. Raises DomainError ``nothing_selected``, ``too_many``. One query."""
    wanted = set(ids)
    if len(wanted) > MOST_ITEMS:
        raise DomainError("too_many", f"At most {MOST_ITEMS:,} entitlements at once, got {len(wanted):,}; filter more.")
    rows = Entitlement.objects.filter(pk__in=wanted).select_related("tenant", "tier__current", "pool__current_profile")
    found = list(rows.order_by("pool_id", "pk"))
    if not found:
        raise DomainError("nothing_selected", "Select at least one entitlement first.")
    return found


def digest_of(rows: Sequence[Entitlement]) -> str:
    """A short name of the set as it stands."""
    text = ",".join(f"{row.pk}:{row.revision}:{row.state}" for row in sorted(rows, key=lambda row: row.pk))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def bulk_preview(action: Action, rows: Sequence[Entitlement], now: datetime) -> BulkPreview:
    """Computes the whole consequence without writing; two queries for all pools together."""
    plans: list[tuple[Entitlement, Entitlement]] = []
    items = []
    for row in rows:
        before = shown(row)
        try:
            after_row = planned(action, row, now)
            entitlement_findings(after_row)
        except DomainError as error:
            items.append(PlannedItem(row, "refused", before, before, (), error.sentence))
            continue
        after = shown(after_row)
        changed = tuple(key for key in after if after[key] != before[key])
        items.append(PlannedItem(row, "change" if changed else "unchanged", before, after, changed, ""))
        plans.append((row, after_row))
    order = {"refused": 0, "change": 1, "unchanged": 2}
    items.sort(key=lambda item: order[item.outcome])
    counts = Counter(item.outcome for item in items)
    totals = {name: counts.get(name, 0) for name in order}
    return BulkPreview(action, items, totals, _fits(plans, now), digest_of(rows))


def _fits(plans: Sequence[tuple[Entitlement, Entitlement]], now: datetime) -> list[PoolFit]:
    pools: dict[int, Pool] = {}
    touched: Counter[int] = Counter()
    for before, after in plans:
        pools[before.pool_id], pools[after.pool_id] = before.pool, after.pool
        touched[after.pool_id] += 1
    asked = max((after.valid_from for _, after in plans), default=now)
    spans, supplies = spans_of(pools, now, asked=max(asked, now)), supplies_of(pools.values())
    for before, after in plans:
        for row, sign in ((before, -1), (after, 1)):
            if (span := span_of(row, now, sign)) is not None:
                spans[row.pool_id].append(span)
    found = []
    for pool_id, pool in pools.items():
        # A lease of nothing of a reserved class, from now on, fits exactly when everything promised fits.
        window = Window(now, None, now)
        code, over = ClassCode.GUARANTEED, pool.oversubscription
        answer = fit_within(NOTHING, code, spans[pool_id], supplies[pool_id], over, window)
        found.append(PoolFit(pool, touched[pool_id], answer))
    return sorted(found, key=lambda one: (["never", "after_scaling", "now"].index(one.fit.verdict), one.pool.slug))
