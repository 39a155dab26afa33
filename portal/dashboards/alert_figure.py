"""The history of a metric under the thresholds of a rule, as a Plotly figure. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from portal.dashboards.figures import Figure, layout, moment

LINES = ("@accent", "@above", "@elastic/1", "@owed/1", "@accent/2", "@above/2", "@elastic/3", "@owed/3")
"""One for each pool that is drawn; none of them is the colour of a level."""
LONGEST_NAME = 20
LEVEL_COLOURS = {"notice": "@pending", "warning": "@low", "critical": "@none"}


def metric_history(
    series: Mapping[str, Sequence[tuple[datetime, float]]],
    levels: Sequence[tuple[str, float]],
    unit: str,
    since: datetime,
    until: datetime,
) -> Figure:
    """A line for each pool (name → points) and a dashed level for each threshold."""
    drawn = [(name, _up_to(points, until)) for name, points in series.items()]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…",
            "x": [moment(at) for at, _ in points],
            "y": [round(value, 3) for _, value in points],
            "line": {"color": color, "width": 2, "shape": "hv"},
            "hovertemplate": "%{y:.3~g}",
            "meta": {"role": "metric"},
        }
        for (name, points), color in zip(drawn, LINES, strict=False)
    ]
    traces += [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{name} {value:g} {unit}".strip(),
            "x": [moment(since), moment(until)],
            "y": [value, value],
            "line": {"color": LEVEL_COLOURS.get(name, "@low"), "width": 1.6, "dash": "dash"},
            "hoverinfo": "skip",
            "meta": {"role": "cap"},
        }
        for name, value in levels
    ]
    return {"data": traces, "layout": layout(unit or "count"), "meta": {}}


def _up_to(points: Sequence[tuple[datetime, float]], until: datetime) -> list[tuple[datetime, float]]:
    """The points, the last one drawn on to the present where its step reaches that far."""
    found = list(points)
    if len(found) > 1 and until - found[-1][0] <= 2 * (found[-1][0] - found[-2][0]):
        found.append((until, found[-1][1]))
    return found
