"""What every benchmark shares: ``--quick`` and ``--json``, medians of rounds, and lines that print ratios beside goals.

Typical use::

    options = parse_options("Admission decisions against a no-op FCALL")
    report = Report("admission", options)
    rates = interleaved({"noop": noop, "reserve": reserve}, rounds=options.rounds)
    report.rate("no-op", rates["noop"])
    report.ratio("reserve / no-op", rates["reserve"], rates["noop"], goal=0.28)
    raise SystemExit(report.finish())
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Options:
    """``quick``: seconds, not minutes. ``json``: last line is one JSON object. ``rounds``: how many a median is of."""

    quick: bool
    json: bool
    rounds: int
    extra: argparse.Namespace

    def scaled(self, full: int, quick: int) -> int:
        """``full`` normally, ``quick`` with --quick."""
        return quick if self.quick else full


def parse_options(
    description: str,
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None,
    argv: Sequence[str] | None = None,
) -> Options:
    """Command line of a benchmark. ``--rounds`` defaults to 5, or 3 with --quick."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a short run: fewer rounds, smaller sizes")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--rounds", type=int, default=0, help="rounds per median (5; 3 with --quick)")
    if add_arguments is not None:
        add_arguments(parser)
    parsed = parser.parse_args(argv)
    rounds = parsed.rounds if parsed.rounds > 0 else (3 if parsed.quick else 5)
    return Options(quick=parsed.quick, json=parsed.json, rounds=rounds, extra=parsed)


def median(values: Sequence[float]) -> float:
    """Median; NaN of nothing."""
    return float(statistics.median(values)) if values else math.nan


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of the sample lies, nearest rank; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return float(ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))])


def interleaved(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Runs every case once per round, in turn, so that a noisy neighbour disturbs all of them alike."""
    results: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            results[name].append(case())
    return results


def human(value: float) -> str:
    """A figure as people read it: 3 significant digits, thousands separated."""
    if math.isnan(value):
        return "n/a"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


@dataclass(slots=True)
class Report:
    """Collects lines, prints each as it comes, and ends with the JSON object when asked for."""

    name: str
    options: Options
    lines: list[dict[str, Any]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        print(
            f"{self.name}: median of {self.options.rounds} rounds, CPython {platform.python_version()}, "
            f"{os.cpu_count()} cores{', quick' if self.options.quick else ''}",
            flush=True,
        )

    def section(self, title: str) -> None:
        print(f"\n{title}", flush=True)

    def rate(self, label: str, values: Sequence[float] | float, unit: str = "/s") -> float:
        """Prints and keeps one measured value (the median of rounds)."""
        value = _middle(values)
        print(f"  {label:<58} {human(value):>12} {unit}", flush=True)
        self.lines.append({"label": label, "value": value, "unit": unit})
        return value

    def ratio(
        self,
        label: str,
        values: Sequence[float] | float,
        reference: Sequence[float] | float,
        *,
        goal: float | None = None,
        at_most: bool = False,
    ) -> float:
        """Prints values / reference beside its goal (at least, or at most with ``at_most``).

        Two equally long lists are divided round by round before the median, which takes out drift of the machine.
        """
        value = _ratio(values, reference)
        met: bool | None = None
        tail = ""
        if goal is not None:
            met = value <= goal if at_most else value >= goal
            tail = f"  goal {'≤' if at_most else '≥'} {goal:g}  {'ok' if met else 'MISSED'}"
            if not met:
                self.missed.append(label)
        print(f"  {label:<58} {value:>12.3f} ×{tail}", flush=True)
        self.lines.append({"label": label, "ratio": value, "goal": goal, "at_most": at_most, "met": met})
        return value

    def note(self, text: str) -> None:
        print(f"  {text}", flush=True)
        self.lines.append({"note": text})

    def finish(self) -> int:
        """Prints which goals were missed, then the JSON line. Always 0: a missed goal is a finding, not a failure."""
        print(f"\ngoals missed: {', '.join(self.missed) if self.missed else 'none'}", flush=True)
        if self.options.json:
            clean = [{k: _jsonable(v) for k, v in line.items()} for line in self.lines]
            document = {
                "benchmark": self.name,
                "quick": self.options.quick,
                "rounds": self.options.rounds,
                "results": clean,
                "missed": self.missed,
            }
            print(json.dumps(document), flush=True)
        return 0


def _jsonable(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _middle(values: Sequence[float] | float) -> float:
    return float(values) if isinstance(values, int | float) else median(values)


def _ratio(values: Sequence[float] | float, reference: Sequence[float] | float) -> float:
    if not isinstance(values, int | float) and not isinstance(reference, int | float) and len(values) == len(reference):
        return median([a / b for a, b in zip(values, reference, strict=True) if b])
    bottom = _middle(reference)
    return _middle(values) / bottom if bottom else math.nan
