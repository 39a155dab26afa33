"""Which table a span of history is read from: samples, minutes or hours, whose columns mean the same."""

from __future__ import annotations

from typing import Literal

MINUTE_S, HOUR_S = 60, 3600
Kind = Literal["pool", "entitlement"]


def history_table(kind: Kind, step_s: float) -> str:
    """The coarsest table whose rows are no wider than a step: at most a few hundred rows are read for each point's
    series, whatever the range."""
    level = "hour" if step_s >= HOUR_S else "minute" if step_s >= MINUTE_S else "sample"
    return f"pools_{kind}{level}"


def headroom_sql(step_s: float, dimension: int) -> str:
    """SQL of the tightest headroom (0, 1 or 2) among the rows of a step."""
    at = dimension + 1
    if step_s >= MINUTE_S:
        return f"min(headroom[{at}])"
    return f"min(greatest(0, capacity[{at}] - hold[{at}] - use[{at}]))"


def whole_step_s(step_s: float) -> float:
    """A step widened so that it splits no row of the table it is read from."""
    for unit in (HOUR_S, MINUTE_S):
        if step_s >= unit:
            return float(-(-step_s // unit) * unit)
    return step_s
