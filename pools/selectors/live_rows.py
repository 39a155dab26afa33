"""Live numbers of single entitlements: read from the latest messages of the pools they are in, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from pools.models import Entitlement, Pool
from pools.selectors.live import live_latest

FRESH_MS = 60_000
DIMENSIONS = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class LiveNumbers:
    """One entitlement now; triples are (tokens/s, KV bytes, sequences). ``binds`` names what holds it back."""

    use: Sequence[float]
    limit: Sequence[float]
    cap: Sequence[float]
    headroom: Sequence[float]
    weight: float
    debt: float
    refused_per_minute: float
    binds: str

    @property
    def below(self) -> bool:
        """Whether its limit is under its use in some dimension."""
        return any(limit < use for use, limit in zip(self.use, self.limit, strict=True))


def live_numbers(rows: Iterable[Entitlement], now_ms: int) -> dict[int, LiveNumbers]:
    """Entitlement id → numbers, for those whose pool has a message of the last minute. One read of the hot store."""
    found = list(rows)
    wanted = {row.pk for row in found}
    numbers = {}
    for message in _messages({row.pool_id for row in found}, now_ms):
        numbers.update({row[0]: _numbers(row) for row in message["rows"] if row[0] in wanted})
    return numbers


def live_below_use(now_ms: int) -> frozenset[int]:
    """Ids of every entitlement whose limit is under its use now, in all pools."""
    pools = list(Pool.objects.filter(archived_at__isnull=True).values_list("pk", flat=True))
    return frozenset(
        row[0]
        for message in _messages(pools, now_ms)
        for row in message["rows"]
        if any(limit < use for use, limit in zip(row[2], row[3], strict=True))
    )


def _messages(pool_ids: Iterable[int], now_ms: int) -> list[dict[str, Any]]:
    read = [orjson.loads(text) for text in live_latest(sorted(pool_ids)).values()]
    return [message for message in read if now_ms - message["at"] < FRESH_MS]


def _numbers(row: list[Any]) -> LiveNumbers:
    return LiveNumbers(row[2], row[3], row[4], row[12], row[6], row[7], row[9], row[10])
