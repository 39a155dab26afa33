"""Usage events, from the stream into the books, each exactly once.

1 read what nobody acknowledged; 2 COPY it beside the table; 3 insert what is new, sum only that up, in one transaction;
4 acknowledge. A crash before 4 brings the events again: they meet their own rows and change nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from billing.services import usage_sql as sql
from pools.counters.types import UsageEvent
from pools.models import Entitlement, Pool
from pools.services.store import counters
from portal.lib.copying import copying

log = logging.getLogger(__name__)
CONSUMER = "billing"
BATCH = 2000
MOST_BATCHES = 20
RATIO_KEPT = 0.9
"""Share of a pool's learned bytes per token that one batch leaves in place."""
SMALLEST_RATIO, LARGEST_RATIO = 0.5, 32.0


@dataclass(frozen=True, slots=True)
class Drained:
    """What one run stored: events that were new, and events that were there already."""

    stored: int = 0
    known: int = 0

    def __add__(self, other: Drained) -> Drained:
        return Drained(self.stored + other.stored, self.known + other.known)


def usage_drain(pool_id: int, now: datetime) -> Drained:
    """Stores everything a pool's stream holds, batch by batch. Errors of either store pass through; nothing is lost."""
    drained = Drained()
    for _ in range(MOST_BATCHES):
        events = counters().read_usage(pool_id, CONSUMER, BATCH)
        if not events:
            break
        drained += events_store(events, now)
        counters().ack_usage(pool_id, [event.stream_id for event in events])
    return drained


@transaction.atomic
def events_store(events: Sequence[UsageEvent], now: datetime) -> Drained:
    """Writes events and their roll-ups; one that is stored already changes nothing."""
    tenants = _tenants(events)
    rows = [_row(event, tenants.get(event.entitlement_id, 0)) for event in events]
    with connection.cursor() as cursor:
        cursor.execute(sql.STAGE)
        with copying(sql.COPY) as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(sql.INSERT)
        stored = cursor.rowcount
        if stored:
            for statement in sql.ROLLUPS:
                cursor.execute(statement)
            cursor.execute(sql.LAST_USED)
        cursor.execute(sql.LEARN)
        learned = cursor.fetchall() if stored else []
        cursor.execute(sql.UNSTAGE)
    for pool_id, prompt_bytes, prompt_tokens in learned:
        _learn(pool_id, float(prompt_bytes) / float(prompt_tokens))
    return Drained(stored, len(events) - stored)


def event_id(event: UsageEvent) -> str:
    """The row's identity: the pool and the event's place in the pool's stream."""
    return f"{event.pool_id}:{event.stream_id}:{event.sequence}"


def _tenants(events: Sequence[UsageEvent]) -> dict[int, int]:
    wanted = {event.entitlement_id for event in events}
    return dict(Entitlement.objects.filter(pk__in=wanted).values_list("pk", "tenant_id"))


def _row(event: UsageEvent, tenant_id: int) -> list[Any]:
    return [
        _moment(event.settled_at_ms),
        event_id(event),
        event.request_id[:128],
        event.pool_id,
        event.entitlement_id,
        tenant_id,
        event.key_id or None,
        event.endpoint_id or None,
        event.capacity_version,
        str(event.outcome),
        event.source[:16],
        event.reserved_tokens,
        event.charged_tokens,
        event.spilled_tokens,
        event.overrun_tokens,
        event.input_tokens,
        event.output_tokens,
        event.cached_tokens,
        event.prompt_bytes,
        event.kv_bytes,
        event.concurrency,
        _moment(event.started_at_ms),
        event.ttft_ms or None,
        event.duration_ms,
    ]


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _learn(pool_id: int, ratio: float) -> None:
    """Moves a pool's bytes per prompt token towards what was just measured."""
    known = Pool.objects.filter(pk=pool_id).values_list("bytes_per_token", flat=True).first()
    if known is None:
        return
    mixed = RATIO_KEPT * known + (1 - RATIO_KEPT) * ratio
    Pool.objects.filter(pk=pool_id).update(bytes_per_token=min(max(mixed, SMALLEST_RATIO), LARGEST_RATIO))
