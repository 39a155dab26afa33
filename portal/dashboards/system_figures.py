"""Charts of the System page as Plotly figures. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from portal.dashboards.figures import Figure, layout, moment

COLOURS = ("@accent", "@above", "@elastic/1", "@owed/1", "@accent/2", "@above/2", "@elastic/3", "@owed/3")


def tick_lag(series: Mapping[int, Sequence[tuple[datetime, float]]]) -> Figure:
    """Shard → (moment, milliseconds late), a line for each of the first eight shards."""
    alone = len(series) == 1
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "tick lag" if alone else f"shard {shard}",
            "x": [moment(at) for at, _ in points],
            "y": [round(value) for _, value in points],
            "line": {"color": color, "width": 2, "shape": "hv"},
            "hovertemplate": "%{y:,} ms",
            "meta": {"role": "lag"},
            "showlegend": not alone,
        }
        for (shard, points), color in zip(series.items(), COLOURS, strict=False)
    ]
    return {"data": traces, "layout": layout("ms late"), "meta": {}}
