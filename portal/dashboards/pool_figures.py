"""Figures of a pool alone: headroom and replicas. Plain dictionaries, as in ``figures``; no queries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from portal.dashboards.figures import Figure, layout, moment
from portal.dashboards.series import DIMENSIONS, PoolPoint

HEADROOM_COLOURS = ("@capacity", "@accent", "@above")
HEADROOM_DASHES = ("solid", "dash", "dot")
Decisions = Sequence[tuple[datetime, int, str]]
"""When, the number chosen, the reason."""


def headroom(points: Sequence[PoolPoint]) -> Figure:
    """What was free beside use and reserves at the tightest moment of each step, in percent of the capacity: one line a
    dimension, so that the one that runs out first is seen at once."""
    x = [moment(point.at) for point in points]
    traces = [
        {
            **_line(title, x, [_share(point.headroom[index], point.capacity[index]) for point in points]),
            "line": {"color": HEADROOM_COLOURS[index], "width": 2, "dash": HEADROOM_DASHES[index]},
            "meta": {"role": "headroom", "dimension": index, "key": key},
            "hovertemplate": "%{y:.0f} %",
        }
        for index, (key, title) in enumerate(DIMENSIONS)
    ]
    shape = layout("% free beside reserves")
    shape["yaxis"].update({"range": [0, 101], "ticksuffix": " %", "fixedrange": True})
    return {"data": traces, "layout": shape, "meta": {}}


def _share(part: float, whole: float) -> float | None:
    return round(min(100.0, 100.0 * part / whole), 1) if whole > 0 else None


def _line(name: str, x: Sequence[int], y: Sequence[float | None]) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "name": name, "x": list(x), "y": list(y)}


def replicas(points: Sequence[PoolPoint], decisions: Decisions) -> Figure:
    """Ready and pending stacked; what is wanted, and what the rules needed before their windows, as lines; decisions as
    markers with their reasons."""
    x = [moment(point.at) for point in points]
    wanted = [round(point.wanted, 2) for point in points]
    traces = [
        _area("Ready", x, [round(point.ready, 2) for point in points], "ready", "@ready/1"),
        _area("Pending", x, [round(point.pending, 2) for point in points], "pending", "@pending/2"),
        _level("Wanted", x, wanted, "wanted", {"color": "@capacity", "dash": "dot", "width": 2}),
        _level("Needed", x, [point.needed for point in points], "needed", {"color": "@above", "width": 1.4}),
        _marks(decisions),
    ]
    shape = layout("replicas")
    shape["yaxis"].update({"dtick": 1, "tickformat": "d"})
    if max([*wanted, 0.0]) > 8:
        del shape["yaxis"]["dtick"]
    return {"data": traces, "layout": shape, "meta": {}}


def _area(name: str, x: Sequence[int], y: Sequence[float | None], role: str, color: str) -> dict[str, Any]:
    return {
        **_line(name, x, y),
        "stackgroup": "replicas",
        "line": {"shape": "hv", "width": 0},
        "fillcolor": color,
        "meta": {"role": role},
        "hovertemplate": "%{y:.3~g}",
    }


def _level(name: str, x: Sequence[int], y: Sequence[float | None], role: str, line: dict[str, Any]) -> dict[str, Any]:
    look = {"shape": "hv", **line}
    return {**_line(name, x, y), "line": look, "meta": {"role": role}, "hovertemplate": "%{y:.3~g}"}


def _marks(decisions: Decisions) -> dict[str, Any]:
    line = {"color": "@capacity", "width": 1.8}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "Decision",
        "x": [moment(at) for at, _, _ in decisions],
        "y": [chosen for _, chosen, _ in decisions],
        "text": [reason for _, _, reason in decisions],
        "marker": {"symbol": "diamond", "size": 9, "color": "@surface", "line": line},
        "hovertemplate": "%{text}<extra></extra>",
        "meta": {"role": "decision"},
    }
