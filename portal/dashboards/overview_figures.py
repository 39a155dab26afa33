"""Figures over the sums of all pools, as plain dictionaries (see ``figures``); no queries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from portal.dashboards.figures import UNITS, Figure, layout, moment, scale
from portal.dashboards.series import PoolPoint

MOST_MARKS = 100


def _trace(name: str, role: str, x: list[int], y: Sequence[float], line: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": list(y),
        "line": line,
        "meta": {"role": role},
        "hovertemplate": "%{y:.3~s}",
        **more,
    }


def total_use(points: Sequence[PoolPoint], dimension: int) -> Figure:
    """Use of all pools as an area, under the capacity line and the promised line."""
    x = [moment(point.at) for point in points]

    area = {"fill": "tozeroy", "fillcolor": "@good/2"}

    def values(role: str) -> list[float]:
        return [scale(getattr(point, role)[dimension], dimension) for point in points]

    traces = [
        _trace("In use", "use", x, values("use"), {"width": 1.6, "color": "@good"}, **area),
        _trace("Capacity", "capacity", x, values("capacity"), {"width": 2, "color": "@capacity", "shape": "hv"}),
        _trace(
            "Promised",
            "promised",
            x,
            values("promised"),
            {"width": 1.6, "color": "@capacity", "shape": "hv", "dash": "dash"},
        ),
    ]
    return {"data": traces, "layout": layout(UNITS[dimension]), "meta": {"dimension": dimension}}


def total_replicas(points: Sequence[PoolPoint], marks: Sequence[tuple[datetime, str]]) -> Figure:
    """Ready and pending replicas stacked, what is wanted as a line, each decision a marker with its reason."""
    x = [moment(point.at) for point in points]
    step = {"shape": "hv", "width": 0}
    dotted = {"width": 2, "color": "@capacity", "dash": "dot", "shape": "hv"}

    def values(role: str) -> list[float]:
        return [round(getattr(point, role), 2) for point in points]

    traces = [
        _trace("Ready", "ready", x, values("ready"), step, stackgroup="replicas", fillcolor="@ready/1"),
        _trace("Pending", "pending", x, values("pending"), step, stackgroup="replicas", fillcolor="@pending/2"),
        _trace("Wanted", "wanted", x, values("wanted"), dotted),
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Decision",
            "x": [moment(at) for at, _ in marks],
            "y": [_level(points, at) for at, _ in marks],
            "text": [text for _, text in marks],
            "marker": {
                "symbol": "diamond",
                "size": 8,
                "color": "@surface",
                "line": {"color": "@capacity", "width": 1.6},
            },
            "hovertemplate": "%{text}<extra></extra>",
            "meta": {"role": "decision"},
        },
    ]
    return {"data": traces, "layout": layout("replicas"), "meta": {}}


def _level(points: Sequence[PoolPoint], at: datetime) -> float:
    """What was wanted at a moment: where a marker stands."""
    known = [point.wanted for point in points if point.at <= at]
    return round(known[-1], 2) if known else (round(points[0].wanted, 2) if points else 0.0)
