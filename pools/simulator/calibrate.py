"""Compare the engine with a measured run, side by side with relative errors, and say what was fitted on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pools.simulator import fitting
from pools.simulator.measured import Floats, MeasuredRun
from pools.simulator.profile import StepCosts
from pools.simulator.virtual import Run

FULL_PCT = 95.0


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``error`` is (model - measured) / measured; None where measured is 0 or nothing is compared."""

    name: str
    unit: str
    measured: float | None
    model: float
    error: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """``method`` says where ``costs`` came from; ``preemptions`` is the model's count (the measured run has none)."""

    title: str
    method: str
    costs: StepCosts
    fitted: tuple[str, ...]
    rows: tuple[Row, ...]
    preemptions: int

    def error_of(self, name: str) -> float:
        """The relative error of a figure. KeyError when there is no such figure."""
        for row in self.rows:
            if row.name == name and row.error is not None:
                return row.error
        raise KeyError(name)

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return asdict(self)


def calibrate(
    measured: MeasuredRun, costs: StepCosts | None = None, *, trials: int = 60, method: str | None = None
) -> Calibration:
    """Compare ``measured`` with the engine at ``costs``, or fit them on it first (``trials`` 0: least squares only)."""
    fitted: tuple[str, ...] = ()
    if costs is None:
        fitted = fitting.FITTED
        method = "least squares on the run's series"
        costs = fitting.least_squares(measured)
        if trials:
            costs = fitting.refine(measured, costs, trials=trials)
            method += f", then a simplex search of at most {trials} virtual runs on the same run"
    model = fitting.replay(measured, costs)
    return Calibration(
        title=measured.title,
        method=method or "given, not fitted on this run",
        costs=costs,
        fitted=fitted,
        rows=tuple(_rows(measured, model)),
        preemptions=sum(sequence.preemptions for sequence in model.sequences),
    )


def _rows(measured: MeasuredRun, model: Run) -> list[Row]:
    real, made = measured.series, fitting.trajectories(model, len(measured.series["t"]))
    spacing = float(np.median(np.diff(real["t"]))) if len(real["t"]) > 1 else 1.0
    whole = fitting.trajectories(model, max(len(real["t"]), len(model.samples)))
    rows = [
        _row("running, max", "", real["running"].max(), whole["running"].max()),
        _row(f"running, mean while KV >= {FULL_PCT:g} %", "", _while_full(real), _while_full(whole)),
        _row("waiting, peak", "", real["waiting"].max(), whole["waiting"].max()),
        _row("waiting, time above 0", "s", *((series["waiting"] > 0).sum() * spacing for series in (real, whole))),
        _row(
            "KV, time at 99 % or more",
            "s",
            *((series["kv_cache_pct"] >= 99).sum() * spacing for series in (real, whole)),
        ),
        _row("KV, mean", "%", real["kv_cache_pct"].mean(), made["kv_cache_pct"].mean()),
    ]
    first = np.array([sequence.ttft_s or 0.0 for sequence in model.sequences])
    for name, seconds, modelled in (
        ("TTFT", measured.ttft_s, first),
        ("time per output token", measured.tpot_s, fitting.tpot(model)),
    ):
        rows.append(_row(f"{name}, mean", "s", seconds.mean(), modelled.mean()))
        rows += [
            _row(f"{name}, p{point}", "s", np.percentile(seconds, point), np.percentile(modelled, point))
            for point in (50, 90, 99)
        ]
    began = min((sequence.queued_at or 0.0 for sequence in model.sequences), default=0.0)
    rows += [
        _row("end to end", "s", measured.duration_s, model.ended_at - began),
        _row("generation, max", "tokens/s", real["gen_throughput"].max(), whole["gen_throughput"].max()),
        _row(
            "generation, mean",
            "tokens/s",
            measured.output_tokens.sum() / measured.duration_s,
            measured.output_tokens.sum() / (model.ended_at - began),
        ),
    ]
    rows += [
        Row(f"mean distance of {name} along the run", unit, None, float(np.abs(made[key] - real[key]).mean()), None)
        for name, key, unit in (
            ("running", "running", ""),
            ("waiting", "waiting", ""),
            ("KV", "kv_cache_pct", "% points"),
            ("generation", "gen_throughput", "tokens/s"),
        )
    ]
    return rows


def _row(name: str, unit: str, measured: float, model: float) -> Row:
    error = (float(model) - float(measured)) / float(measured) if measured else None
    return Row(name, unit, float(measured), float(model), error)


def _while_full(series: dict[str, Floats]) -> float:
    full = series["kv_cache_pct"] >= FULL_PCT
    return float(series["running"][full].mean()) if full.any() else 0.0


def as_text(calibration: Calibration) -> str:
    """The table a person reads."""
    costs = calibration.costs
    lines = [
        calibration.title,
        f"step costs: {calibration.method}",
        f"  base {1000 * costs.base_s:.2f} ms + {1000 * costs.per_sequence_s:.4f} ms per sequence"
        f" + {1e6 * costs.per_context_token_s:.4f} ms per 1000 context tokens; "
        f"prefill {costs.prefill_tokens_per_s:,.0f} tokens/s",
        f"  fitted: {', '.join(calibration.fitted) or 'nothing'}; taken from the run's configuration: everything else",
        "",
        f"{'figure':<44}{'measured':>12}{'model':>12}{'error':>9}",
    ]
    for row in calibration.rows:
        name = f"{row.name} ({row.unit})" if row.unit else row.name
        seen = "-" if row.measured is None else _number(row.measured)
        error = "" if row.error is None else f"{100 * row.error:+.1f} %"
        lines.append(f"{name:<44}{seen:>12}{_number(row.model):>12}{error:>9}")
    lines.append(f"{'preemptions (not in the measured files)':<44}{'-':>12}{calibration.preemptions:>12}")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3f}".rstrip("0").rstrip(".")
