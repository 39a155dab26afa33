"""One figure of everything that happened to a pool: five strips over one time axis. A plain dictionary; no queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from portal.dashboards import fair_figures, figures, pool_figures
from portal.dashboards.figures import Figure, layout, moment
from portal.dashboards.series import PoolPoint
from portal.dashboards.timeline_reads import KINDS, Event

LANES = {key: index for index, (key, _) in enumerate(reversed(KINDS))}
SYMBOLS = {
    "scaling": ("diamond", "@capacity"),
    "tier": ("square", "@dedicated"),
    "entitlement": ("circle", "@elastic"),
    "pool": ("hexagon", "@guaranteed"),
    "endpoint": ("triangle-up", "@above"),
    "alert": ("x", "@failed"),
}
# From the bottom: replicas, debts, headroom, refusals, events.
STRIPS = {
    "y5": ("replicas", [0.0, 0.15]),
    "y4": ("debt", [0.2, 0.38]),
    "y3": ("% free", [0.43, 0.59]),
    "y2": ("refused", [0.64, 0.79]),
    "y": ("", [0.84, 1.0]),
}


def timeline(
    points: Sequence[PoolPoint],
    refused: Sequence[tuple[datetime, str, int]],
    bar_s: int,
    debts: Mapping[int, Sequence[tuple[datetime, float]]],
    names: Mapping[int, tuple[str, str, str]],
    happened: Sequence[Event],
) -> Figure:
    """Events on lanes, refusals as bars, headroom, debts and replicas as lines: each strip with its own scale."""
    traces = [
        *_events(happened),
        *_on("y2", figures.refusals(refused, bar_s)["data"]),
        *_on("y3", pool_figures.headroom(points)["data"]),
        *_on("y4", fair_figures.debt_lines(debts, names)["data"]),
        *_on("y5", [t for t in pool_figures.replicas(points, [])["data"] if t["meta"]["role"] != "decision"]),
    ]
    shape = layout("", barmode="stack", bargap=0, hoversubplots="axis")
    axis = shape.pop("yaxis")
    for name, (title, domain) in STRIPS.items():
        own = {**axis, "domain": domain, "title": {**axis["title"], "text": title}, "fixedrange": True}
        shape[f"yaxis{name[1:]}"] = own
    shape["yaxis"].update(
        {
            "tickvals": list(LANES.values()),
            "ticktext": list(LANES),
            "range": [-0.6, len(LANES) - 0.4],
            "rangemode": "normal",
        }
    )
    shape["yaxis3"].update({"range": [0, 101], "ticksuffix": " %"})
    shape["yaxis4"].update(
        {"tickformat": "+.0%", "rangemode": "normal", "zeroline": True, "zerolinecolor": "@capacity"}
    )
    shape["yaxis5"].update({"tickformat": "d", "nticks": 3})
    shape["xaxis"].update({"anchor": "y5", "showgrid": True})
    shape["legend"].update({"maxheight": 0.2})
    return {"data": traces, "layout": shape, "meta": {}}


def _on(axis: str, traces: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**trace, "yaxis": axis} for trace in traces]


def hover(event: Event) -> str:
    """What a marker says."""
    return f"{event.title}: {event.text}"[:160]


def _events(happened: Sequence[Event]) -> list[dict[str, Any]]:
    """One trace a kind; ``ids`` tell the page which line of the list belongs to a marker."""
    traces = []
    for kind, name in KINDS:
        mine = [event for event in happened if event.kind == kind][::-1]
        symbol, color = SYMBOLS[kind]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [moment(event.at) for event in mine],
                "y": [LANES[kind]] * len(mine),
                "ids": [event.key for event in mine],
                "text": [hover(event) for event in mine],
                "marker": {"symbol": symbol, "size": 9, "color": color, "line": {"color": "@surface", "width": 1}},
                "hovertemplate": "%{text}<extra></extra>",
                "meta": {"role": "event", "kind": kind},
                "showlegend": False,
            }
        )
    return traces
