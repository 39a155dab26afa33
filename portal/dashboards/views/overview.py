"""The operator's first page, and the health of the system."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.models import Endpoint, Pool, ScalingDecision
from portal.accounts.access import reads_everything
from portal.dashboards import reads
from portal.dashboards.live_state import STALE_MS, LiveState
from portal.dashboards.series import gauges, room_of
from portal.dashboards.views.common import page, recent
from portal.lib.clock import now_ms
from portal.lib.hot import hot


@reads_everything
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """All pools at a glance: who is short, who refuses, what the autoscaler last did."""
    pools = list(Pool.objects.filter(archived_at__isnull=True)[:200])
    found = reads.live_states([pool.pk for pool in pools])
    states = {key: state for key, state in found.items() if recent(state) is not None}
    rows = [(pool, states.get(pool.pk), gauges(states.get(pool.pk))) for pool in pools]
    rows.sort(key=lambda row: (tightest(row[1]), row[0].slug))
    context = {
        "nav": "overview",
        "rows": rows,
        "totals": totals(list(states.values())),
        "sentence": sentence(rows),
        "decisions": list(ScalingDecision.objects.exclude(before=F("chosen")).select_related("pool")[:8]),
    }
    return page(request, "dashboards/overview.html", context)


def tightest(state: LiveState | None) -> float:
    """The smallest free share over the dimensions; unknown pools come first, they need a look."""
    if state is None:
        return -1.0
    shares = [1 - use / capacity for use, capacity in zip(state.use, state.capacity, strict=True) if capacity > 0]
    return min(shares, default=0.0)


def totals(states: list[LiveState]) -> dict[str, Any]:
    """Sums over all pools that report: what the tiles show."""
    use, capacity, promised = (sum(getattr(s, name)[0] for s in states) for name in ("use", "capacity", "promised"))
    return {
        "known": bool(states),
        "use": use,
        "capacity": capacity,
        "promised": promised,
        "slots": sum(s.use[2] for s in states),
        "slots_all": sum(s.capacity[2] for s in states),
        "kv": sum(s.use[1] for s in states),
        "kv_all": sum(s.capacity[1] for s in states),
        "ready": sum(s.ready for s in states),
        "pending": sum(s.pending for s in states),
        "wanted": sum(s.wanted for s in states),
        "refused_per_minute": sum(row.refused_per_minute for s in states for row in s.rows.values()),
        "debtors": sum(1 for s in states for row in s.rows.values() if row.debt > 0.01),
    }


def sentence(rows: list[tuple[Pool, LiveState | None, Any]]) -> str:
    """What the page was opened for: is anything short?"""
    if not rows:
        return "There is no pool yet."
    silent = [pool.slug for pool, state, _ in rows if state is None]
    short = [pool.slug for pool, state, _ in rows if state is not None and room_of(tightest(state)) != "good"]
    if silent:
        return f"{len(silent)} of {len(rows)} pools send no live data: {', '.join(silent[:4])}."
    if short:
        return f"{len(short)} of {len(rows)} pools have little room left: {', '.join(short[:4])}."
    return "Every pool has room to spare." if len(rows) > 1 else "The pool has room to spare."


@reads_everything
@require_safe
def system(request: HttpRequest) -> HttpResponse:
    """Stores, ticks and endpoints: is the machinery itself well?"""
    pools = list(Pool.objects.filter(archived_at__isnull=True)[:200])
    states = reads.live_states([pool.pk for pool in pools])
    moment = now_ms()
    ticks = []
    for pool in pools:
        state = states.get(pool.pk)
        age = state.age_ms(moment) if state is not None else None
        ticks.append(
            (pool, age, state.lag_ms if state else None, "ok" if age is not None and age < STALE_MS else "late")
        )
    counts: dict[str, int] = {}
    for state_name in Endpoint.objects.values_list("state", flat=True).exclude(state="stopped")[:5000]:
        counts[state_name] = counts.get(state_name, 0) + 1
    context = {"nav": "system", "ticks": ticks, "endpoints": sorted(counts.items()), **stores()}
    return page(request, "dashboards/system.html", context)


def stores() -> dict[str, Any]:
    """Versions and sizes of both stores."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version'), pg_database_size(current_database()), count(*)"
            " FROM pg_stat_activity"
        )
        version, size, sessions = cursor.fetchone() or ("?", 0, 0)
    info: Any = hot().info()
    return {
        "postgres": {"version": version, "size": size, "sessions": sessions},
        "valkey": {
            "version": info.get("valkey_version") or info.get("redis_version"),
            "memory": info.get("used_memory"),
            "clients": info.get("connected_clients"),
            "per_second": info.get("instantaneous_ops_per_sec"),
            "uptime_s": info.get("uptime_in_seconds"),
        },
    }
