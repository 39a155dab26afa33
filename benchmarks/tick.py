"""The tick: compute for 1,000 to 100,000 entitlements, then reading and writing the hot store, then history by COPY.

Run ``python -m benchmarks.tick [--quick] [--json] [--no-store] [--million]``. Every figure stands beside one measured
in the same run: the same tick in plain Python, numpy copying and sorting the same rows, a bare COPY of the history.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that the file can be run by its path

import argparse
import time
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise

import numpy as np

from benchmarks._common import Report, interleaved, parse_options
from benchmarks._shards import plain_rows, plain_tick, shard
from pools.mechanism.tick import tick
from pools.mechanism.tick_types import TickInput

SIZES = (1_000, 10_000, 100_000)
PLAIN_AT_MOST = 10_000


def milliseconds(deed: Callable[[], object]) -> float:
    """Processor time a deed took: computing waits for nothing, and a neighbour's load must not count."""
    begun = time.process_time()
    deed()
    return 1000.0 * (time.process_time() - begun)


def arrays_of(given: TickInput) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Every array one tick reads or keeps."""
    found = []
    for holder in (given.entitlements, given.pools, given.state):
        values = [getattr(holder, item.name) for item in fields(holder)]
        found += [value for value in values if isinstance(value, np.ndarray)]
    return found


def copy_and_sort(given: TickInput) -> None:
    """What no tick can go below: read and write each column once, order the rows once per dimension."""
    for column in arrays_of(given):
        column.copy()
    for dimension in range(3):
        np.argsort(given.state.demand[:, dimension])


def compute(report: Report, sizes: tuple[int, ...]) -> None:
    """Compute only, in pools of 100 and in one pool."""
    medians: dict[tuple[int, str], float] = {}
    for size in sizes:
        for label, per_pool in (("pools of 100", 100), ("one pool", size)):
            report.section(f"{size:,} entitlements, {label}")
            given = shard(size, per_pool)
            cases: dict[str, Callable[[], float]] = {
                "tick": lambda given=given: milliseconds(lambda: tick(given)),  # type: ignore[misc]
                "limit": lambda given=given: milliseconds(lambda: copy_and_sort(given)),  # type: ignore[misc]
            }
            if size <= PLAIN_AT_MOST and per_pool == 100:
                rows = plain_rows(given)
                cases["plain"] = lambda given=given, rows=rows: milliseconds(lambda: plain_tick(given, rows))  # type: ignore[misc]
            tick(given)
            times = interleaved(cases, report.options.rounds)
            medians[size, label] = report.rate("tick (numpy)", times["tick"], "ms CPU")
            report.rate("copy and sort of the same rows", times["limit"], "ms CPU")
            report.ratio("tick / copy and sort", times["tick"], times["limit"])
            if "plain" in times:
                report.rate("tick (plain Python)", times["plain"], "ms CPU")
                report.ratio("plain Python / numpy", times["plain"], times["tick"], goal=5.0)
    report.section("growth")
    for label in ("pools of 100", "one pool"):
        for small, large in pairwise(sizes):
            ratio = medians[large, label] / medians[small, label]
            report.ratio(f"{large:,} / {small:,}, {label}", ratio, 1.0, goal=13.0, at_most=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark alone."""
    parser.add_argument("--no-store", action="store_true", help="compute only: start no servers")
    parser.add_argument("--million", action="store_true", help="also 1,000,000 entitlements (compute only)")


def main() -> int:
    """Runs everything."""
    options = parse_options((__doc__ or "").splitlines()[0], add_arguments)
    report = Report("tick", options)
    sizes = SIZES[:2] if options.quick else SIZES + ((1_000_000,) if options.extra.million else ())
    compute(report, sizes)
    if not options.extra.no_store:
        from benchmarks._tick_store import store_and_history

        store_and_history(report, 10_000 if options.quick else 100_000)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
