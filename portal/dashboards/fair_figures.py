"""Figures of fairness, as plain dictionaries (see ``figures``); no queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from portal.dashboards.fair_reads import FairPoint
from portal.dashboards.figures import UNITS, Figure, layout, moment, scale

SHADES, DASHES = 4, ("solid", "dash", "dot", "dashdot")


def _line(name: str, x: list[int], y: Sequence[float | None], color: str, **line: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": list(y),
        "line": {"width": 2, "color": color, **line},
        "meta": {"role": name.lower(), "mean": True},
        "hovertemplate": "%{y:.2f}",
        "connectgaps": False,
    }


def fairness_lines(points: Sequence[FairPoint]) -> Figure:
    """Satisfied share and Jain's index from 0 to 1; dispersion beside them (0 is alike, it may pass 1)."""
    x = [moment(point.at) for point in points]
    traces = [
        _line("Satisfied", x, [_rounded(p.satisfied) for p in points], "@good", width=2.4),
        _line("Jain index", x, [_rounded(p.jain) for p in points], "@capacity", dash="dash"),
        _line("Dispersion", x, [_rounded(p.dispersion) for p in points], "@above", dash="dot", width=1.6),
    ]
    shape = layout("share")
    tallest = max([1.0, *(p.dispersion for p in points if p.dispersion is not None)])
    shape["yaxis"].update({"range": [0, 1.04 * tallest], "fixedrange": True})
    return {"data": traces, "layout": shape, "meta": {}}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def lending_areas(points: Sequence[FairPoint], dimension: int) -> Figure:
    """What was used above promises, stacked by where it came from."""
    x = [moment(point.at) for point in points]
    names = (
        ("lent", "Idle reserve", "@guaranteed/1"),
        ("free", "Unpromised", "@above/2"),
        ("beyond", "Beyond both", "@failed/1"),
    )
    traces = []
    for role, name, color in names:
        y = [scale(getattr(point, role), dimension) for point in points]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": x,
                "y": y,
                "stackgroup": "above",
                "line": {"width": 0.6, "color": "@surface"},
                "fillcolor": color,
                "meta": {"role": role, "mean": True},
                "hovertemplate": "%{y:.3~s}",
                "showlegend": role != "beyond" or any(y),
            }
        )
    return {"data": traces, "layout": layout(UNITS[dimension]), "meta": {"dimension": dimension}}


def debt_lines(
    series: Mapping[int, Sequence[tuple[datetime, float]]], names: Mapping[int, tuple[str, str, str]]
) -> Figure:
    """One signed line an entitlement: above zero it is owed, below it had more than promised."""
    traces = []
    seen: dict[str, int] = {}
    for identity, points in series.items():
        name, _, service_class = names.get(identity, (f"#{identity}", "", "other"))
        place = seen[service_class] = seen.get(service_class, -1) + 1
        trace = _line(
            name[:22],
            [moment(at) for at, _ in points],
            [value for _, value in points],
            f"@{service_class}/{place % SHADES}",
            dash=DASHES[place // SHADES % len(DASHES)],
        )
        traces.append(
            {**trace, "meta": {"role": "debt", "entitlement": identity, "mean": True}, "hovertemplate": "%{y:+.1%}"}
        )
    shape = layout("debt")
    shape["legend"]["entrywidth"] = 118
    shape["yaxis"].update(
        {
            "zeroline": True,
            "zerolinecolor": "@capacity",
            "zerolinewidth": 1.5,
            "rangemode": "normal",
            "tickformat": "+.0%",
        }
    )
    return {"data": traces, "layout": shape, "meta": {}}
