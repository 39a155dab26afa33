"""Figures of the tiers' pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pools.selectors.shadow import ShadowStep
from portal.dashboards.figures import Figure, moment, refusals


def would_have_refused(steps: Sequence[ShadowStep], bar_s: int) -> Figure:
    """Bars by reason for the shadow, one stepped line for what the terms in force refused in the same steps."""
    rows = [(step.at, code, count) for step in steps for code, count in step.total.refused.items()]
    figure = refusals(rows, bar_s, "would have refused")
    x: list[int] = []
    y: list[int | None] = []
    for step in steps:  # each step is as wide as its bar; where nobody asked there is a gap
        begin = moment(step.at)
        if x and x[-1] == begin:
            del x[-1], y[-1]
        elif x:
            x.append(begin)
            y.append(None)
        x += [begin, begin + bar_s * 1000]
        y += [step.total.refused_now, step.total.refused_now]
    line: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "name": "refused by the terms in force",
        "x": x,
        "y": y,
        "line": {"color": "@capacity", "width": 1.8, "dash": "dot", "shape": "hv"},
        "meta": {"role": "in force"},
        "hovertemplate": "%{y}",
    }
    return {**figure, "data": [*figure["data"], line]}
