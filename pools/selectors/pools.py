"""Pools as they stand: promises from the books, use and replicas from the latest live message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db.models import Count, Q, QuerySet

from pools.choices import EndpointState
from pools.models import Endpoint, Entitlement, Pool, ScalingDecision
from pools.selectors.live import live_latest
from portal.accounts.viewer import Viewer
from portal.lib.errors import DomainError

MOST_ROWS = 500


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool. ``live`` is the pool's part of the latest live message and ``at`` its moment, None before the first."""

    pool: Pool
    entitlements: int
    ready: int
    starting: int
    live: dict[str, Any] | None
    at: datetime | None


def pool_list(viewer: Viewer) -> list[PoolSnapshot]:
    """Every living pool; for a tenant those it has an entitlement in. Two queries and one read of the hot store."""
    return _snapshots(viewer, Pool.objects.filter(archived_at__isnull=True))


def pool_snapshot(viewer: Viewer, slug: str) -> PoolSnapshot:
    """One pool by slug. Raises DomainError ``not_found``, for a tenant also where it has no entitlement in it."""
    found = _snapshots(viewer, Pool.objects.filter(slug=slug, archived_at__isnull=True))
    if not found:
        raise DomainError("not_found", f"There is no pool {slug!r} that you may open.", status=404)
    return found[0]


def endpoint_list(pool_id: int, *, gone: int = 0) -> list[Endpoint]:
    """Living endpoints of a pool by number, then the latest ``gone`` ones that stopped or failed. Platform only."""
    over = (EndpointState.STOPPED.value, EndpointState.FAILED.value)
    rows = Endpoint.objects.filter(pool_id=pool_id).select_related("profile")
    living = list(rows.exclude(state__in=over).order_by("ordinal", "pk"))
    return living + (list(rows.filter(state__in=over).order_by("-state_since")[:gone]) if gone else [])


def decision_list(pool_id: int, *, before: datetime | None = None, count: int = 50) -> list[ScalingDecision]:
    """The latest scaling decisions of a pool, newest first, or those before a moment. Platform only."""
    rows = ScalingDecision.objects.filter(pool_id=pool_id).select_related("profile")
    if before is not None:
        rows = rows.filter(at__lt=before)
    return list(rows.order_by("-at", "-pk")[: min(count, MOST_ROWS)])


def entitlement_list(viewer: Viewer, *, pool_slug: str | None = None, state: str | None = None) -> list[Entitlement]:
    """Entitlements the viewer may see, with tenant, pool, tier and its version. One query."""
    rows = Entitlement.objects.select_related("tenant", "pool__current_profile", "tier__current")
    if pool_slug is not None:
        rows = rows.filter(pool__slug=pool_slug)
    if state is not None:
        rows = rows.filter(state=state)
    with viewer.scope():
        return list(rows.order_by("pool__slug", "tenant__slug", "pk"))


def _snapshots(viewer: Viewer, pools: QuerySet[Pool]) -> list[PoolSnapshot]:
    with viewer.scope():
        rows = list(
            pools.select_related("current_profile")
            .annotate(held=Count("entitlements", filter=~Q(entitlements__state="expired")))
            .order_by("slug")
        )
    if viewer.tenant_id is not None:
        rows = [row for row in rows if row.held]
    states = _replicas(viewer, [row.pk for row in rows])
    messages = live_latest([row.pk for row in rows])
    found = []
    for row in rows:
        message = orjson.loads(messages[row.pk]) if row.pk in messages else None
        ready, starting = states.get(row.pk, (0, 0))
        live = message["pool"] if message and viewer.tenant_id is None else None
        at = datetime.fromtimestamp(message["at"] / 1000).astimezone() if message else None
        found.append(PoolSnapshot(row, row.held, ready, starting, live, at))
    return found


def _replicas(viewer: Viewer, pool_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Pool id → (ready, starting). A tenant may know whether its pool can serve, not which machines do."""
    rows = (
        Endpoint.objects.filter(pool_id__in=pool_ids)
        .values("pool_id")
        .annotate(
            ready=Count("pk", filter=Q(state=EndpointState.READY.value)),
            starting=Count("pk", filter=Q(state__in=(EndpointState.PENDING.value, EndpointState.STARTING.value))),
        )
    )
    return {row["pool_id"]: (row["ready"], row["starting"]) for row in rows}
