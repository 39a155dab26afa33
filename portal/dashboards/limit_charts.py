"""The small multiples of one entitlement: use under limit and cap in each dimension, and what was refused."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pools.models import Entitlement
from pools.services.amounts import base_of, cap_of
from portal.dashboards import figures, reads
from portal.dashboards.series import DIMENSIONS, Range


def limit_charts(entitlement: Entitlement, span: Range, now: datetime) -> dict[str, Any]:
    """What ``home.js`` and ``entitlement_live.js`` draw; ``empty`` where nothing was measured in the range."""
    points = reads.entitlement_history(entitlement.pk, span, now)
    since = now - timedelta(seconds=span.seconds)
    refused = reads.entitlement_refusals(entitlement.pk, span.bar_s, since, span.step_s)
    version, bases = entitlement.tier.current, base_of(entitlement).as_tuple()
    caps = cap_of(entitlement, version).as_tuple() if version is not None else bases
    made: dict[str, Any] = {
        key: figures.use_limit_cap(points, caps[index], bases[index], index, entitlement.tier.service_class)
        for index, (key, _) in enumerate(DIMENSIONS)
    }
    made["refused"] = figures.refusals(refused, span.bar_s)
    window = {"seconds": span.seconds, "step_s": span.step_s, "bar_s": span.bar_s}
    return {**made, "range": window, "empty": not points}
