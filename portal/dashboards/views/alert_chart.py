"""The chart of a metric with thresholds drawn in: of a rule, or of a form that is not saved yet."""

from __future__ import annotations

from datetime import timedelta

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.models import Pool
from pools.selectors.alerts import metric_history as history
from pools.selectors.alerts import worst_pools
from pools.services.alert_words import INFO, LEVELS
from portal.accounts.access import reads_everything
from portal.dashboards.alert_figure import LINES, metric_history
from portal.dashboards.series import range_of
from portal.dashboards.views.common import json
from portal.lib.clock import now

SMALLEST_STEP_S = 15


@reads_everything
@require_safe
def chart(request: HttpRequest) -> HttpResponse:
    """``metric``, ``pool`` (empty: the worst eight), ``range``, and a number for each level."""
    metric, slug = request.GET.get("metric", ""), request.GET.get("pool", "").strip()
    if metric not in INFO:
        raise Http404("There is no such metric.")
    info, span, moment = INFO[metric], range_of(request.GET.get("range") or "1h"), now()
    since = moment - timedelta(seconds=span.seconds)
    if slug:
        ids = list(Pool.objects.filter(slug=slug).values_list("pk", flat=True))
    else:
        ids = worst_pools(metric, info.below, since, len(LINES))
    names = dict(Pool.objects.filter(pk__in=ids).values_list("pk", "slug"))
    step_s = max(SMALLEST_STEP_S, span.step_s)
    points = history(metric, info.below, ids, since, timedelta(seconds=step_s))
    series = {names[pk]: [(one.at, one.value) for one in points if one.pool_id == pk] for pk in ids if pk in names}
    levels = [(level, value) for level in LEVELS if (value := _value(request, level)) is not None]
    return json(
        {
            "metric": metric_history(series, levels, info.unit, since, moment),
            "range": {"seconds": span.seconds, "step_s": step_s, "end": int(moment.timestamp() * 1000)},
            "empty": not points,
        }
    )


def _value(request: HttpRequest, level: str) -> float | None:
    try:
        found = float(request.GET.get(level, ""))
    except ValueError:
        return None
    return found if abs(found) < 1e12 else None
