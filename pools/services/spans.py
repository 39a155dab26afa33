"""What pools promised, with its windows: sums of base by when they begin and end, for the checks of leases."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import connection

from pools.choices import ServiceClass
from pools.mechanism.ordering import RANK_OF_CLASS
from pools.mechanism.windows import Span, Window
from pools.models import Entitlement
from pools.services.amounts import CLASS_CODES, base_of
from pools.services.supply import PROMISED_STATES, RESERVED

# What began before now counts from now; an end matters only where something begins (or is asked for) after it. So
# whatever lives open-ended or outlives every beginning is one row a class, and a pool of thousands is a few rows.
SUMS = """
WITH promised AS (
    SELECT e.pool_id, greatest(e.valid_from, %(now)s) AS begins, e.valid_until,
           t.service_class = ANY(%(reserved)s) AS kept, e.base_tokens_per_second AS tokens, e.base_kv_bytes AS kv,
           e.base_concurrency AS seats
    FROM pools_entitlement e JOIN pools_tier t ON t.id = e.tier_id
    WHERE e.pool_id = ANY(%(pools)s) AND e.state = ANY(%(states)s) AND t.service_class = ANY(%(classes)s)
      AND (e.valid_until IS NULL OR e.valid_until > %(now)s) AND e.id <> %(without)s
), latest AS (SELECT pool_id, greatest(max(begins), %(asked)s) AS begins FROM promised GROUP BY pool_id)
SELECT p.pool_id, p.begins, CASE WHEN p.valid_until <= latest.begins THEN p.valid_until END AS ends, p.kept,
       sum(p.tokens)::bigint, sum(p.kv)::numeric, sum(p.seats)::bigint
FROM promised p JOIN latest USING (pool_id) GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""


def spans_of(
    pool_ids: Iterable[int], now: datetime, *, without: int | None = None, asked: datetime | None = None
) -> dict[int, list[Span]]:
    """Pool id → what is promised there from now on, one entitlement left out. One query, whatever the number.

    ``asked`` is the latest beginning of a window that will be looked at, where one is after now.
    """
    found: dict[int, list[Span]] = {pool_id: [] for pool_id in pool_ids}
    if not found:
        return found
    with connection.cursor() as cursor:
        cursor.execute(
            SUMS,
            {
                "now": now,
                "asked": asked or now,
                "pools": list(found),
                "states": list(PROMISED_STATES),
                "reserved": list(RESERVED),
                "classes": [*RESERVED, ServiceClass.ELASTIC.value],
                "without": without or 0,
            },
        )
        for pool_id, begins, ends, kept, *sums in cursor.fetchall():
            amounts = (int(sums[0]), int(sums[1]), int(sums[2]))
            found[pool_id].append(Span(begins, ends, reserved=amounts) if kept else Span(begins, ends, elastic=amounts))
    return found


def span_of(row: Entitlement, now: datetime, sign: int = 1) -> Span | None:
    """What one entitlement promises from now on in its present state, as a span; taken out with ``sign`` -1. None where
    it promises nothing."""
    return span_promised(row, now, sign) if row.state in PROMISED_STATES else None


def span_promised(row: Entitlement, now: datetime, sign: int = 1) -> Span | None:
    """:func:`span_of` whatever its state."""
    rank = RANK_OF_CLASS[CLASS_CODES[row.tier.service_class]]
    if rank > 1 or (row.valid_until is not None and row.valid_until <= now):
        return None
    base = base_of(row).as_tuple()
    amounts = (sign * base[0], sign * base[1], sign * base[2])
    begins = max(row.valid_from, now)
    if rank == 0:
        return Span(begins, row.valid_until, reserved=amounts)
    return Span(begins, row.valid_until, elastic=amounts)


def window_of(row: Entitlement, now: datetime) -> Window:
    """The window an entitlement asks for, from now on."""
    return Window.of(row.valid_from, row.valid_until, now)
