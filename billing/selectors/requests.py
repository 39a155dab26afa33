"""Settled requests as they came, for replays: when each began, what it cost, how long it ran."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from pools.mechanism.shadow import Asked
from pools.models import Pool

_ASKED = """
SELECT entitlement_id, (extract(epoch FROM started_at) * 1000)::bigint, reserved_tokens, kv_bytes, concurrency,
       charged_tokens, (extract(epoch FROM settled_at - started_at) * 1000)::float, input_tokens
FROM billing_usageevent
WHERE pool_id = %s AND settled_at >= %s AND started_at < %s AND entitlement_id = ANY(%s)
ORDER BY started_at, event_id LIMIT %s
"""
_COUNT = """
SELECT coalesce(sum(requests), 0) FROM billing_usageminute
WHERE pool_id = ANY(%s) AND at >= %s AND entitlement_id = ANY(%s)
"""


def requests_asked(
    pool: Pool, entitlement_ids: Sequence[int], start: datetime, end: datetime, most: int
) -> dict[int, list[Asked]]:
    """Requests that ran between two moments, at most ``most``, by entitlement and in order of time. One query.

    The output bound each asked for is inferred from what was reserved for it beside its prompt.
    """
    found: dict[int, list[Asked]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_ASKED, [pool.pk, start, end, list(entitlement_ids), most])
        for identity, at_ms, tokens, kv_bytes, seats, charged, runs_ms, prompt in cursor.fetchall():
            output = max(0.0, (tokens - pool.weight_input * prompt) / (pool.weight_output * max(1, seats)))
            found[identity].append(Asked(at_ms, tokens, kv_bytes, seats, charged, max(1.0, runs_ms), output))
    return found


def requests_counted(pool_ids: Sequence[int], entitlement_ids: Sequence[int], start: datetime) -> int:
    """How many requests were settled since a moment. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [list(pool_ids), start, list(entitlement_ids)])
        row = cursor.fetchone()
    return int(row[0]) if row else 0
