"""Who was served by an endpoint of late: read from settled requests, since streams are not counted by endpoint."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Count, Max

from billing.models import UsageEvent
from portal.accounts.models import Tenant

LATELY = timedelta(minutes=5)
MOST = 8


class Served(NamedTuple):
    """One tenant: its name, requests it settled there, the last of them."""

    tenant: str
    requests: int
    last: datetime


def served_lately(pool_id: int, endpoint_id: int | None, now: datetime) -> list[Served]:
    """Tenants with requests on the endpoint (None: on any of the pool) in the last five minutes, most first. Two
    queries."""
    events = UsageEvent.objects.filter(settled_at__gte=now - LATELY, pool_id=pool_id)
    rows = (
        (events if endpoint_id is None else events.filter(endpoint_id=endpoint_id))
        .values_list("tenant_id")
        .annotate(requests=Count("event_id"), last=Max("settled_at"))
        .order_by("-requests", "tenant_id")[:MOST]
    )
    found = list(rows)
    names = dict(Tenant.objects.filter(pk__in=[tenant_id for tenant_id, _, _ in found]).values_list("pk", "name"))
    return [Served(names.get(tenant_id, "–"), requests, last) for tenant_id, requests, last in found]
