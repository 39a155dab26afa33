"""The System page: is the machinery itself well? Every part is asked within a bounded time."""

from __future__ import annotations

import platform
from datetime import timedelta
from typing import Any

import django
from celery import current_app
from django.conf import settings
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST, require_safe

from pools.choices import EndpointState, EntitlementState, FailMode
from pools.models import AlertDelivery, Endpoint, Entitlement, Pool, Tier
from pools.models.alerts import DeliveryState, Metric
from pools.selectors.alerts import metric_history
from pools.services.drift import counters_recount
from portal import __version__
from portal.accounts.access import operates, reads_everything
from portal.audit.actors import page_actor
from portal.audit.verify import check_latest
from portal.dashboards import system_health as health
from portal.dashboards import system_reads as reads
from portal.dashboards.series import RANGES, range_of
from portal.dashboards.system_figures import tick_lag
from portal.dashboards.system_settings import settings_shown
from portal.dashboards.views.common import json, page
from portal.lib.clock import now, now_ms
from portal.lib.pages import note, refusal_noted

MOST_POOLS = 2000
MOST_SHOWN = 100
STEP_S = 15


def _pools() -> list[tuple[int, str]]:
    rows = Pool.objects.filter(archived_at__isnull=True).order_by("slug")
    return list(rows.values_list("pk", "slug")[:MOST_POOLS])


@reads_everything
@require_safe
def system(request: HttpRequest) -> HttpResponse:
    """Stores, workers, beat, gateways, ticks, modes, settings."""
    context = {
        "nav": "system",
        "settings": settings_shown(),
        "ranges": RANGES,
        "range": range_of(request.GET.get("range")),
        **now_context(request),
    }
    return page(request, "dashboards/system.html", context, charts=True)


@reads_everything
@require_safe
def now_part(request: HttpRequest) -> HttpResponse:
    """The part that changes, fetched every few seconds by the page."""
    return page(request, "dashboards/_system_now.html", now_context(request))


def now_context(request: HttpRequest) -> dict[str, Any]:
    """Everything that was just asked."""
    pools, moment = _pools(), now_ms()
    found = reads.store([pool_id for pool_id, _ in pools])
    books, missing = reads.books(), reads.migrations_missing()
    modes = modes_context()
    troubles = health.store_troubles(found)
    lines: dict[str, Any] = {"store": found, "store_away": found if isinstance(found, str) else ""}
    if not isinstance(found, str):
        conf = current_app.conf
        schedule, reasons = conf.beat_schedule or {}, conf.get("beat_reasons") or {}
        ticks = health.tick_lines(pools, found, moment, settings.TICK_SHARDS)
        beats = health.beat_lines(schedule, reasons, found.pulses.tasks, moment)
        workers, gateways = health.life_lines(found, moment)
        troubles += health.run_troubles(beats, workers, gateways, ticks)
        lines |= {"ticks": ticks[:MOST_SHOWN], "ticks_more": max(0, len(ticks) - MOST_SHOWN), "beats": beats}
        lines |= {"workers": workers, "gateways": gateways, "backlog": sum(found.backlog.values())}
        lines["beat_age_ms"] = min((one.age_ms for one in beats if one.age_ms is not None), default=None)
    troubles += book_troubles(books, missing, modes)
    return {
        **lines,
        **modes,
        "books": books,
        "missing": missing,
        "troubles": troubles,
        "sentence": health.sentence(troubles),
        "version": __version__,
        "python": platform.python_version(),
        "django": django.get_version(),
        "mode": settings.MECHANISM_MODE,
        "at": now(),
        "may_change": getattr(request.user, "operates", False),
    }


def modes_context() -> dict[str, Any]:
    """What runs otherwise than it should, as the books know it. Five queries."""
    living = Tier.objects.filter(archived_at__isnull=True, current__fail_mode=FailMode.OPEN.value)
    degraded = Entitlement.objects.filter(state=EntitlementState.DEGRADED.value)
    ready = Count("endpoints", filter=Q(endpoints__state=EndpointState.READY.value))
    bare = Pool.objects.filter(archived_at__isnull=True, wanted_replicas__gt=0).annotate(ready=ready).filter(ready=0)
    states = Endpoint.objects.exclude(state=EndpointState.STOPPED.value).order_by("state").values_list("state")
    recent = now() - timedelta(minutes=15)
    living_states = states.exclude(Q(state=EndpointState.FAILED.value) & Q(state_since__lt=recent))
    return {
        "fail_open": list(living.order_by("slug").values_list("slug", flat=True)[:50]),
        "degraded": degraded.count(),
        "bare": list(bare.order_by("slug").values_list("slug", flat=True)[:20]),
        "endpoints": list(living_states.annotate(count=Count("pk"))),
        "undelivered": AlertDelivery.objects.filter(state=DeliveryState.WAITING, attempts__gt=1).count(),
        "check": check_latest(),
    }


def book_troubles(books: reads.Books, missing: list[str], modes: dict[str, Any]) -> list[str]:
    """What is wrong as far as the books know."""
    troubles = []
    if missing:
        many = "migrations are" if len(missing) > 1 else "migration is"
        troubles.append(f"{len(missing)} {many} not applied ({', '.join(missing[:3])}): run manage.py migrate.")
    if books.sessions > 0.9 * books.most_sessions:
        troubles.append(f"PostgreSQL has {books.sessions} of {books.most_sessions} sessions in use.")
    if books.longest_s > health.LONG_STATEMENT_S:
        troubles.append(f"A statement has been running in PostgreSQL for {books.longest_s:.0f} s.")
    if modes["bare"]:
        troubles.append(f"No replica is ready in {', '.join(modes['bare'][:4])}.")
    if modes["degraded"]:
        troubles.append(f"{modes['degraded']} entitlement(s) are degraded: capacity was lost below what is promised.")
    if modes["undelivered"]:
        troubles.append(f"{modes['undelivered']} alert message(s) are being tried again.")
    check = modes["check"]
    if check is not None and check.broken_id is not None:
        troubles.append(f"The audit chain is broken at #{check.broken_id}.")
    if settings.MECHANISM_MODE != "strict":
        troubles.append("MECHANISM_MODE is paper: the literal formulas, for comparison only.")
    return troubles


@reads_everything
@require_safe
def charts(request: HttpRequest) -> HttpResponse:
    """How late the tick of each shard was, as the watch saw it: one pool speaks for its shard."""
    span, moment = range_of(request.GET.get("range")), now()
    speakers: dict[int, int] = {}
    for pool_id, _ in sorted(_pools()):
        speakers.setdefault(pool_id % settings.TICK_SHARDS, pool_id)
    chosen = dict(sorted(speakers.items())[:8])
    step_s = max(STEP_S, span.step_s)
    since, step = moment - timedelta(seconds=span.seconds), timedelta(seconds=step_s)
    points = metric_history(Metric.TICK_LAG, False, list(chosen.values()), since, step)
    series = {shard: [(p.at, p.value) for p in points if p.pool_id == pool_id] for shard, pool_id in chosen.items()}
    return json(
        {
            "lag": tick_lag(series),
            "range": {"seconds": span.seconds, "step_s": step_s, "end": int(moment.timestamp() * 1000)},
            "empty": not points,
        }
    )


@operates
@require_POST
def recount(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Makes a pool's counters follow its live reservations again."""
    pool = get_object_or_404(Pool, slug=slug)
    with refusal_noted(request):
        before = counters_recount(
            actor=page_actor(request), now=now(), pool=pool, reason="Asked for on the System page."
        )
        note(request, f"{pool.slug} was counted anew: {before.live:,} live requests, drift was {before.sequences:,}.")
    return redirect("system")
