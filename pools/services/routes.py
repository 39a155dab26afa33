"""The route of a pool: which model, which endpoints, how full each of them is. Gateways read it once a second."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson

from pools.choices import EndpointState
from pools.counters.keys import route_document
from pools.models import Endpoint, Pool
from pools.services.amounts import mean_service_s
from pools.services.store import counters

STALE_AFTER = timedelta(seconds=6)
"""Three scrapes of two seconds: an endpoint that has not answered since counts as full."""


def route_publish(pool_id: int, now: datetime) -> None:
    """Writes a pool's route. Errors of the store pass through."""
    document = route_of(pool_id, now)
    if document is not None:
        counters().put_document(route_document(pool_id), document)


def route_of(pool_id: int, now: datetime) -> bytes | None:
    """The JSON; None for a pool without a capacity profile."""
    pool = Pool.objects.select_related("current_profile").filter(pk=pool_id).first()
    profile = pool.current_profile if pool is not None else None
    if pool is None or profile is None:
        return None
    serving = [EndpointState.READY.value, EndpointState.DRAINING.value]
    endpoints = Endpoint.objects.filter(pool_id=pool_id, state__in=serving).select_related("profile").order_by("pk")
    return orjson.dumps(
        {
            "v": 1,
            "pool_id": pool.pk,
            "pool": pool.slug,
            "model": pool.model_name,
            "upstream_model": pool.upstream_model,
            "context_length": profile.context_length,
            "block_tokens": profile.block_tokens,
            "kv_bytes_per_token": profile.kv_bytes_per_token,
            "weight_input": pool.weight_input,
            "weight_output": pool.weight_output,
            "bytes_per_token": pool.bytes_per_token,
            "lease_ms": pool.lease_ms,
            "capacity_version": profile.version,
            "mean_service_ms": round(mean_service_s(profile) * 1000),
            "tokenize": pool.tokenize,
            "endpoints": [_endpoint(row, now) for row in endpoints],
        }
    )


def _endpoint(row: Endpoint, now: datetime) -> dict[str, Any]:
    profile = row.profile
    return {
        "id": row.pk,
        "url": row.url,
        "state": row.state,
        "slots": profile.concurrency if profile else 0,
        "kv_bytes": profile.kv_bytes if profile else 0,
        "running": row.running,
        "waiting": row.waiting,
        "kv_usage": row.kv_usage,
        "fresh": row.scraped_at is not None and now - row.scraped_at <= STALE_AFTER,
    }
