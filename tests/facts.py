"""Facts of the books as the drain and the tick write them: a request that ran, a sample of an entitlement."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from billing.models import UsageEvent
from pools.models import Entitlement, EntitlementSample, PoolSample
from tests.cast import KV_TOKEN, SLOT_KV


def came(row: Entitlement, at: datetime, runs_s: float = 10, **changes: Any) -> None:
    """A request that was admitted, ran and is in the books."""
    number = UsageEvent.objects.count()
    usual: dict[str, Any] = {
        "settled_at": at + timedelta(seconds=runs_s), "event_id": f"e{number}", "request_id": f"r{number}",
        "pool_id": row.pool_id, "entitlement_id": row.pk, "tenant_id": row.tenant_id, "capacity_version": 1,
        "outcome": "completed", "source": "engine", "reserved_tokens": 64, "charged_tokens": 64, "spilled_tokens": 0,
        "overrun_tokens": 0, "input_tokens": 32, "output_tokens": 32, "cached_tokens": 0, "prompt_bytes": 100,
        "kv_bytes": 64 * KV_TOKEN, "concurrency": 1, "started_at": at, "duration_ms": int(runs_s * 1000),
    }  # fmt: skip
    UsageEvent.objects.create(**{**usual, **changes})


def sampled(row: Entitlement, at: datetime, refused: dict[str, int] | None = None, contended: bool = False) -> None:
    """The tick's sample of an entitlement and its pool at a moment."""
    EntitlementSample.objects.create(
        at=at, entitlement_id=row.pk, pool_id=row.pool_id, tenant_id=row.tenant_id, elapsed_s=5.0,
        use_tokens_per_second=60, use_kv_bytes=4 * SLOT_KV, use_concurrency=4, limit_tokens_per_second=150,
        limit_kv_bytes=10 * SLOT_KV, limit_concurrency=10, demand_tokens_per_second=60, weight=33, debt=0, burst=0,
        gap_tokens=0, admitted=1, refused=refused or {},
    )  # fmt: skip
    if not PoolSample.objects.filter(at=at).exists():
        PoolSample.objects.create(
            at=at, pool_id=row.pool_id, capacity=[240, 16.0 * SLOT_KV, 16], promised=[165, 11.0 * SLOT_KV, 11],
            use=[60, 4.0 * SLOT_KV, 4], hold=[0, 0, 0], ready=1, pending=0, wanted=1, contended=contended, lag_ms=1,
        )  # fmt: skip
