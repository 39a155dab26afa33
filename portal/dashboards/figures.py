"""Plotly figures as plain dictionaries; no queries.

Colours are names ("@elastic"): charts.js looks them up in colours.css, so that a figure follows the theme without being
asked for again. ``meta`` tells the page's script which live number continues which trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from portal.dashboards.series import DIMENSIONS, EntitlementPoint, PoolPoint

Figure = dict[str, Any]
GIB = 1024.0**3
UNITS = ("tokens/s", "GiB", "slots")
REASONS = ("concurrency", "token_budget", "kv_budget", "pool_full", "low_priority", "no_capacity")
SHADES = 4
TICKS = [
    {"dtickrange": [None, 59_999], "value": "%H:%M:%S"},
    {"dtickrange": [60_000, 43_200_000], "value": "%H:%M"},
    {"dtickrange": [43_200_000, None], "value": "%-d %b"},
]


def scale(value: float, dimension: int) -> float:
    """KV bytes are drawn in GiB, the others as they are."""
    return round(value / GIB, 4) if dimension == 1 else round(value, 2)


def moment(at: datetime) -> int:
    """Milliseconds since the epoch: charts.js shifts them to the reader's zone."""
    return int(at.timestamp() * 1000)


def layout(y_title: str = "", **changes: Any) -> dict[str, Any]:
    """What all charts share: no frame, thin grid, one hover box for all lines, legend above."""
    axis = {"gridcolor": "@grid", "linecolor": "@line", "zeroline": False, "fixedrange": False, "automargin": True}
    return {
        "margin": {"l": 8, "r": 14, "t": 34, "b": 8, "pad": 2},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "Inter var, Inter, system-ui, sans-serif", "size": 12, "color": "@muted"},
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "@surface", "bordercolor": "@line", "font": {"color": "@ink", "size": 12}},
        "legend": {
            "orientation": "h",
            "y": 1.02,
            "yanchor": "bottom",
            "x": 0,
            "font": {"size": 11.5},
            "traceorder": "normal",
            "maxheight": 0.6,
        },
        "xaxis": {
            **axis,
            "type": "date",
            "showgrid": False,
            "hoverformat": "%H:%M:%S",
            "nticks": 6,
            "tickformatstops": TICKS,
        },
        "yaxis": {
            **axis,
            "title": {"text": y_title, "font": {"size": 11.5}, "standoff": 6},
            "rangemode": "tozero",
            "nticks": 5,
        },
        "uirevision": "keep",
        "dragmode": "zoom",
        **changes,
    }


def _line(name: str, x: Sequence[int], y: Sequence[float | None], color: str, **more: Any) -> dict[str, Any]:
    line = {"color": color, "width": 2, **more.pop("line", {})}
    return {"type": "scatter", "mode": "lines", "name": name, "x": list(x), "y": list(y), "line": line, **more}


def use_by_tenant(
    points: Sequence[PoolPoint],
    uses: Mapping[int, Mapping[datetime, float]],
    tenants: Sequence[tuple[int, str, str]],
    dimension: int,
) -> Figure:
    """Stacked use, strongest class at the bottom, under the capacity line and the promised line.

    ``tenants`` lists (tenant id, name, service class) in stacking order; id 0 gathers the others.
    """
    times = sorted({point.at for point in points} | {at for series in uses.values() for at in series})
    x = [moment(at) for at in times]
    traces: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for tenant_id, name, service_class in tenants:
        shade = seen[service_class] = seen.get(service_class, -1) + 1
        color = f"@{service_class}/{shade % SHADES}"
        y = [scale(uses.get(tenant_id, {}).get(at, 0.0), dimension) for at in times]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": x,
                "y": y,
                "stackgroup": "use",
                "line": {"width": 0.6, "color": "@surface"},
                "fillcolor": color,
                "meta": {"role": "tenant", "tenant": tenant_id},
                "hovertemplate": "%{y:.3~s}",
            }
        )
    by_time = {point.at: point for point in points}
    for role, name, dash in (("capacity", "Capacity", "solid"), ("promised", "Promised", "dash")):
        known = [by_time.get(at) for at in times]
        values = [None if p is None else scale(getattr(p, role)[dimension], dimension) for p in known]
        traces.append(
            _line(
                name,
                x,
                values,
                "@capacity",
                line={"dash": dash, "shape": "hv", "width": 2 if role == "capacity" else 1.6},
                meta={"role": role},
                hovertemplate="%{y:.3~s}",
                connectgaps=True,
            )
        )
    return {
        "data": traces,
        "layout": layout(UNITS[dimension]),
        "meta": {"dimension": dimension, "name": DIMENSIONS[dimension][0]},
    }


def refusals(rows: Sequence[tuple[datetime, str, int]], bar_s: int, title: str = "refused") -> Figure:
    """Stacked bars, one fixed shade per reason; one that never happened is hidden until it does."""
    codes = [*REASONS, *sorted({code for _, code, _ in rows} - set(REASONS))]
    traces = []
    for code in codes:
        mine = {at: count for at, name, count in rows if name == code}
        traces.append(
            {
                "type": "bar",
                "name": code.replace("_", " ").replace("kv ", "KV "),
                "x": [moment(at) + bar_s * 500 for at in mine],
                "y": list(mine.values()),
                "width": bar_s * 1000 * 0.86,
                "marker": {"color": f"@{code}" if code in REASONS else "@other", "line": {"width": 0}},
                "meta": {"role": "refused", "code": code},
                "showlegend": bool(mine),
                "hovertemplate": "%{y}",
            }
        )
    return {
        "data": traces,
        "layout": layout(f"{title} per {_span(bar_s)}", barmode="stack", bargap=0),
        "meta": {"bar_s": bar_s},
    }


def _span(seconds: int) -> str:
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min" if seconds < 3600 else f"{seconds // 3600} h"


def use_limit_cap(
    points: Sequence[EntitlementPoint], cap: float, base: float, dimension: int, service_class: str
) -> Figure:
    """One dimension of one entitlement: use as an area, limit as a line, cap and baseline as quiet levels."""
    x = [moment(point.at) for point in points]
    ends = [x[0], x[-1]] if x else []
    traces = [
        _line(
            "Use",
            x,
            [scale(p.use[dimension], dimension) for p in points],
            f"@{service_class}",
            fill="tozeroy",
            fillcolor=f"@{service_class}/3",
            meta={"role": "use"},
            hovertemplate="%{y:.3~s}",
        ),
        _line(
            "Limit",
            x,
            [scale(p.limit[dimension], dimension) for p in points],
            "@none",
            line={"shape": "hv", "width": 1.6, "dash": "dash"},
            meta={"role": "limit"},
            hovertemplate="%{y:.3~s}",
        ),
        _line(
            "Cap",
            ends,
            [scale(cap, dimension)] * len(ends),
            "@promise",
            line={"width": 1.3, "dash": "dot"},
            meta={"role": "cap", "value": scale(cap, dimension)},
            hovertemplate="%{y:.3~s}",
        ),
    ]
    if base > 0:
        traces.append(
            _line(
                "Baseline",
                ends,
                [scale(base, dimension)] * len(ends),
                "@ink",
                line={"width": 1.3},
                meta={"role": "base", "value": scale(base, dimension)},
                hovertemplate="%{y:.3~s}",
            )
        )
    return {"data": traces, "layout": layout(UNITS[dimension]), "meta": {"dimension": dimension}}


def debt_line(points: Sequence[tuple[datetime, float]], unit: str = "tokens owed") -> Figure:
    """Signed: above zero is owed to the tenant, below zero was served above the promise."""
    x = [moment(at) for at, _ in points]
    up = [max(0.0, value) for _, value in points]
    down = [min(0.0, value) for _, value in points]
    traces = [
        _line(
            "owed to you",
            x,
            up,
            "@owed",
            fill="tozeroy",
            fillcolor="@owed/3",
            line={"shape": "hv"},
            hovertemplate="%{y:.3~s}",
        ),
        _line(
            "served above promise",
            x,
            down,
            "@above",
            fill="tozeroy",
            fillcolor="@above/3",
            line={"shape": "hv"},
            hovertemplate="%{y:.3~s}",
        ),
    ]
    shape = layout(unit)
    shape["yaxis"].update({"zeroline": True, "zerolinecolor": "@capacity", "zerolinewidth": 1.5, "rangemode": "normal"})
    return {"data": traces, "layout": shape, "meta": {}}


def usage_bars(series: Sequence[tuple[str, Mapping[datetime, float]]], step_s: int) -> Figure:
    """Tokens per step, stacked: input and output, or the largest of a grouping and the others. Shades of one colour."""
    traces = [
        {
            "type": "bar",
            "name": name if len(name) <= 40 else f"{name[:39]}…",
            "x": [moment(at) + step_s * 500 for at in values],
            "y": list(values.values()),
            "width": step_s * 1000 * 0.86,
            "marker": {"color": "@other" if name == "others" else f"@accent/{(len(series) - 1 - index) % SHADES}"},
            "hovertemplate": "%{y:.3~s}",
        }
        for index, (name, values) in enumerate(series)
    ]
    return {"data": traces, "layout": layout(f"tokens per {_span(step_s)}", barmode="stack", bargap=0), "meta": {}}
