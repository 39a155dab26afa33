"""What a preview says: a row per entitlement, a part per pool. Arrays of three are tokens/s, KV bytes, sequences."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One entitlement before and after. ``mine``: it lives under the edited tier. ``heading_*``: the debt it drifts to
    while demand stays as it is. ``below``: dimensions whose limit would fall below the present use."""

    entitlement_id: int
    tenant: str
    tenant_slug: str
    pool_id: int
    pool_slug: str
    tier: str
    service_class: str
    state: str
    mine: bool
    use: Triple
    limit_before: Triple
    limit_after: Triple
    headroom_before: Triple
    headroom_after: Triple
    weight_before: float
    weight_after: float
    share_before: float
    share_after: float
    debt: float
    heading_before: float
    heading_after: float
    below: tuple[int, ...]

    @property
    def debt_words(self) -> str:
        """Where the debt goes after the change."""
        drift = self.heading_after - self.debt
        if abs(self.heading_after - self.heading_before) < 0.005 or abs(drift) < 0.005:
            return "unchanged"
        return "owed ↑" if drift > 0 else "owed ↓"


@dataclass(frozen=True, slots=True)
class PreviewPool:
    """One pool before and after. ``ceilings_*``: the sum of all caps over capacity. ``over_promised``: dimensions in
    which the promises exceed the ready capacity. ``cost_change``: money a month, None where no price is known, beside
    ``accelerator_hours_change`` a month. ``note`` is empty or says why figures are missing or rough."""

    pool_id: int
    slug: str
    ready: int
    entitlements: int
    capacity: Triple
    promised: Triple
    over_promised: tuple[int, ...]
    ceilings_before: Triple
    ceilings_after: Triple
    headroom_before: Triple
    headroom_after: Triple
    wanted_before: int
    wanted_after: int
    accelerator_hours_change: float
    cost_change: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Preview:
    """``rows`` are the most interesting ones, ``row_count`` how many there are; ``moved`` counts those whose limits
    change. ``pools_total`` is more than ``pools`` where the tier lives in very many. ``known`` is false when the hot
    store could not be asked."""

    rows: tuple[PreviewRow, ...]
    row_count: int
    moved: int
    below: int
    pools: tuple[PreviewPool, ...]
    pools_total: int
    entitlements: int
    wanted_before: int
    wanted_after: int
    cost_change: float | None
    accelerator_hours_change: float
    known: bool
    notes: tuple[str, ...]
    token: str
    computed_at: datetime

    @property
    def over_promised(self) -> int:
        """Pools that promise more than is ready."""
        return sum(bool(pool.over_promised) for pool in self.pools)
