"""Restart every endpoint of a pool, one after the other: a dialog that shows what is in flight and who loses what while
one is away, the deed once the pool's slug was typed, and leaving the rest alone.

The deed is a row; the endpoint reconciler drives it (``pools.services.endpoint_rolling``).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from pools.choices import EndpointState
from pools.models import Endpoint, Pool, RollingRestart
from pools.services.amounts import NOTHING, mean_service_s, replica_of
from pools.services.endpoint_rolling import rolling_cancel, rolling_start
from pools.services.outlook import capacity_without, pool_outlook
from pools.services.preview_state import pool_token_make
from pools.web.pool_common import outlook_context, pool_for_change
from portal.accounts.access import operates
from portal.audit.actors import page_actor
from portal.dashboards.endpoint_reads import served_lately
from portal.dashboards.views.endpoint_deeds import PROVIDER_NOTES
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import reason_of
from portal.lib.pages import note, page, refusal_noted

MOST_SHOWN = 12
SHOWN_FOR = timedelta(minutes=30)
"""How long the pool's page tells how a rolling restart ended."""
SILENT_AFTER = timedelta(seconds=30)
"""Without a look of the reconciler: then no worker runs."""


@operates
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The dialog (a page of its own without scripts), and the deed once the pool's slug was typed."""
    pool = pool_for_change(slug)
    if request.method != "POST":
        return _dialog(request, pool)
    if request.POST.get("confirm", "").strip() != pool.slug:
        return _dialog(request, pool, f"Type {pool.slug} to confirm; nothing was done.", 422)
    try:
        made = rolling_start(
            actor=page_actor(request),
            now=now(),
            pool_id=pool.pk,
            reason=reason_of(request, 300),
            preview_token=request.POST.get("token", ""),
        )
    except DomainError as error:
        return _dialog(request, pool, error.sentence, error.status)
    undo = reverse("pool-rolling-cancel", args=[pool.slug, made.pk])
    many = "the one that is ready is" if made.total == 1 else f"{made.total} endpoints are"
    note(request, f"{pool.name}: {many} restarted, one after the other.", undo=undo)
    return redirect("pool", pool.slug)


@operates
@require_POST
def cancel(request: HttpRequest, slug: str, rolling_id: int) -> HttpResponseBase:
    """Leaves those alone that did not have their turn."""
    pool = pool_for_change(slug)
    with refusal_noted(request):
        found = rolling_cancel(actor=page_actor(request), now=now(), pool_id=pool.pk, rolling_id=rolling_id)
        note(request, f"The rolling restart is cancelled. {found.said}")
    return redirect("pool", pool.slug)


def rolling_context(pool: Pool) -> dict[str, Any]:
    """The latest rolling restart of a pool, while it runs and for a while after. One query."""
    moment = now()
    rows = RollingRestart.objects.filter(pool=pool).select_related("actor", "current")
    found = rows.order_by("-pk").first()
    if found is None or (found.ended_at is not None and moment - found.ended_at > SHOWN_FOR):
        return {}
    running = found.ended_at is None
    silent = running and moment - found.looked_at > SILENT_AFTER
    return {"rolling": found, "rolling_runs": running, "rolling_silent": silent}


def _dialog(request: HttpRequest, pool: Pool, problem: str = "", status: int = 200) -> HttpResponse:
    moment, token = now(), pool_token_make(pool.pk, "rolling", None)
    rows = Endpoint.objects.filter(pool=pool, state=EndpointState.READY.value).select_related("profile")
    ready = list(rows.order_by("ordinal", "pk"))
    largest = max(
        (replica_of(row.profile) for row in ready if row.profile), default=NOTHING, key=lambda rate: rate.as_tuple()
    )
    profile = pool.current_profile
    context: dict[str, Any] = {
        "nav": "pools",
        "pool": pool,
        "token": token,
        "ready": ready[:MOST_SHOWN],
        "more": max(0, len(ready) - MOST_SHOWN),
        "total": len(ready),
        "running": sum(row.running for row in ready),
        "waiting": sum(row.waiting for row in ready),
        "provider_says": PROVIDER_NOTES.get(pool.provider, ""),
        "served": served_lately(pool.pk, None, moment),
        "usual_s": mean_service_s(profile) if profile is not None else None,
        "already": RollingRestart.objects.filter(pool=pool, ended_at__isnull=True).exists(),
        "problem": problem,
        "reason": reason_of(request, 300) if request.method == "POST" else "",
        **outlook_context(pool_outlook(pool, pool, moment, capacity=capacity_without(pool, largest))),
    }
    part = "dashboards/_rolling_deed.html"
    template = part if request.headers.get("HX-Request") else "dashboards/rolling_deed.html"
    return page(request, template, context, status=status, kept=False)
