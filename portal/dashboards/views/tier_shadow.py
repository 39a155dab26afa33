"""A tier's terms on real requests: the chart of its shadow, and a trial of terms being typed on the last day."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from billing.services.what_if import tier_what_if
from pools.models import Tier
from pools.selectors.shadow import shadow_run_of, shadow_steps
from pools.web.tier_form import typed_read
from portal.accounts.access import operates, reads_everything
from portal.dashboards.series import range_of
from portal.dashboards.tier_figures import would_have_refused
from portal.lib.clock import now
from portal.lib.pages import json, page

SMALLEST_BAR_S = 60


@reads_everything
@require_safe
def chart(request: HttpRequest, slug: str) -> HttpResponse:
    """The figure over the range in the address; of a shadow that ended, the range before its end."""
    tier = get_object_or_404(Tier.objects.select_related("shadow"), slug=slug)
    span, run = range_of(request.GET.get("range") or "1h"), shadow_run_of(tier)
    bar_s = max(SMALLEST_BAR_S, span.bar_s)
    if run is None:
        return json({"empty": True})
    end = run.ended_at or now()
    steps = shadow_steps(run.pk, end - timedelta(seconds=span.seconds), end, timedelta(seconds=bar_s))
    return json(
        {
            "shadow": would_have_refused(steps, bar_s),
            "range": {"seconds": span.seconds, "end": int(end.timestamp() * 1000)},
            "empty": not steps,
        }
    )


@operates
@require_POST
def what_if(request: HttpRequest, slug: str) -> HttpResponse:
    """The terms as they are typed, tried on the last day's requests. Changes nothing."""
    tier = get_object_or_404(Tier.objects.select_related("current"), slug=slug)
    typed = typed_read(request.POST, tier.service_class)
    found = tier_what_if(tier, typed.terms, now()) if typed.terms is not None else None
    return page(request, "dashboards/_tier_what_if.html", {"found": found, "tier": tier}, kept=False)
