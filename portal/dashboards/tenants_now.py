"""What every tenant uses now: the rows of all live messages, summed by tenant. Read once in two seconds per process."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from pools.models import Entitlement, Pool
from pools.selectors.live import live_latest
from portal.dashboards.live_state import LOST_MS, LiveRow, row_of

KEPT_S = 2.0
_kept: dict[str, Any] = {"at": 0.0, "rows": {}, "oldest_ms": None}


def tenants_now(now_ms: int) -> dict[int, LiveRow]:
    """Tenant id → its entitlements' live rows in one: amounts and refusals summed, the debt the largest of them.

    A tenant without a row of the last minute is not there: "no data" is not zero. One query, one read of the hot store.
    """
    if time.monotonic() - _kept["at"] < KEPT_S:
        found: dict[int, LiveRow] = _kept["rows"]
        return found
    pools = list(Pool.objects.filter(archived_at__isnull=True).values_list("pk", flat=True))
    messages = [orjson.loads(text) for text in live_latest(pools).values()]
    fresh = [one for one in messages if one.get("v") == 1 and now_ms - one["at"] < 2 * LOST_MS]
    rows = gathered(fresh)
    _kept.update(at=time.monotonic(), rows=rows, oldest_ms=min((one["at"] for one in fresh), default=None))
    return rows


def now_at() -> datetime | None:
    """How old the sums are: the moment of the oldest message in them, None when there was none."""
    oldest = _kept["oldest_ms"]
    return datetime.fromtimestamp(oldest / 1000, UTC) if oldest is not None else None


def entitlements_now(entitlements: Iterable[Entitlement], now_ms: int) -> dict[int, LiveRow]:
    """Entitlement id → its live row, of those whose pool has a message of the last minute. One read."""
    wanted = {row.pk: row.pool_id for row in entitlements}
    found: dict[int, LiveRow] = {}
    for text in live_latest(sorted(set(wanted.values()))).values():
        message = orjson.loads(text)
        if message.get("v") == 1 and now_ms - message["at"] < 2 * LOST_MS:
            found.update({row[0]: row_of(row) for row in message["rows"] if row[0] in wanted})
    return found


def tenants_forget() -> None:
    """Reads anew at the next call (tests, whose time is short)."""
    _kept.update(at=0.0, rows={}, oldest_ms=None)


def gathered(messages: Iterable[dict[str, Any]]) -> dict[int, LiveRow]:
    """The sums over live messages."""
    sums: dict[int, list[Any]] = {}
    for message in messages:
        for row in message["rows"]:
            mine = sums.get(row[1])
            if mine is None:
                sums[row[1]] = [[*row[2]], [*row[3]], [*row[4]], [*row[5]], row[7], row[9], [*row[12]]]
                continue
            for place, column in ((0, 2), (1, 3), (2, 4), (3, 5), (6, 12)):
                total, more = mine[place], row[column]
                total[0] += more[0]
                total[1] += more[1]
                total[2] += more[2]
            mine[4] = max(mine[4], row[7])
            mine[5] += row[9]
    return {
        tenant: row_of([0, tenant, use, limit, cap, base, 0.0, debt, 0.0, refused, "", "", headroom])
        for tenant, (use, limit, cap, base, debt, refused, headroom) in sums.items()
    }
