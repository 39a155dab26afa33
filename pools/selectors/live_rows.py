"""Live numbers of single entitlements: read from the latest messages of the pools they are in, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pools.models import Entitlement, Pool
from pools.selectors.live import live_head, live_latest, live_picked

FRESH_MS = 60_000
DIMENSIONS = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class LiveNumbers:
    """One entitlement at ``at_ms``; triples are (tokens/s, KV bytes, sequences). ``binds`` names what holds it back."""

    at_ms: int
    use: Sequence[float]
    limit: Sequence[float]
    cap: Sequence[float]
    base: Sequence[float]
    headroom: Sequence[float]
    weight: float
    debt: float
    refused_per_minute: float
    binds: str

    @property
    def served(self) -> bool:
        """Whether anything is let in under it: an entitlement that is not bound has no limit."""
        return any(self.limit)

    @property
    def fullest(self) -> int:
        """The dimension that is nearest to its limit: 0, 1 or 2."""
        return max(DIMENSIONS, key=lambda index: self.use[index] / self.limit[index] if self.limit[index] > 0 else 0.0)

    @property
    def room(self) -> float:
        """The smallest share of a limit that is free, over the dimensions that have one."""
        shares = [self.headroom[index] / self.limit[index] for index in DIMENSIONS if self.limit[index] > 0]
        return max(0.0, min(shares, default=0.0))

    @property
    def below(self) -> bool:
        """Whether its limit is under its use in some dimension."""
        return any(limit < use for use, limit in zip(self.use, self.limit, strict=True))


def live_numbers(rows: Iterable[Entitlement], now_ms: int) -> dict[int, LiveNumbers]:
    """Entitlement id → numbers, for those whose pool has a message of the last minute. One read of the hot store."""
    wanted: dict[int, list[int]] = {}
    for row in rows:
        wanted.setdefault(row.pool_id, []).append(row.pk)
    numbers = {}
    for pool_id, text in live_latest(sorted(wanted)).items():
        at_ms, found = live_picked(text, wanted[pool_id])
        if now_ms - at_ms < FRESH_MS:
            numbers.update({row[0]: _numbers(row, at_ms) for row in found})
    return numbers


def live_below_use(now_ms: int) -> frozenset[int]:
    """Ids of every entitlement whose limit is under its use now, in all pools."""
    pools = list(Pool.objects.filter(archived_at__isnull=True).values_list("pk", flat=True))
    heads = (live_head(text) for text in live_latest(pools).values())
    return frozenset(one for head in heads if now_ms - head.get("at", 0) < FRESH_MS for one in head["pool"]["below"])


def _numbers(row: list[Any], at_ms: int) -> LiveNumbers:
    return LiveNumbers(at_ms, row[2], row[3], row[4], row[5], row[12], row[6], row[7], row[9], row[10])
