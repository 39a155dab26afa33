"""Every page of the portal on a large made-up world: queries and server milliseconds, against the frame alone.

Run ``python -m benchmarks.pages [--quick] [--json] [--markdown FILE] [--folder DIR] [--only TEXT]``. Requests go
through Django's own test client in this process, signed in as a platform admin, while real ticks keep the live numbers
fresh. The floor is a page that shows nothing: the frame with its menu around one sentence. ``--quick`` takes the small
world. Servers are started in a folder of their own; ``--folder`` keeps the world for the next run.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that the file can be run by its path

import argparse
import os
import shutil
import tempfile

from benchmarks._common import Options, Report, median, parse_options, percentile
from portal.embedded.stack import Stack, create_database

RUNS, QUICK_RUNS = 20, 5
MOST_MS, MOST_QUERIES, USUAL_MS = 300.0, 30, 80.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark alone."""
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    parser.add_argument("--folder", type=Path, help="keep the world here, and use the one that is there")
    parser.add_argument("--only", default="", help="only routes whose name holds this text")


def main() -> int:
    """Starts the servers, seeds the world if there is none, measures every page."""
    options = parse_options((__doc__ or "").splitlines()[0], add_arguments)
    folder = options.extra.folder or Path(tempfile.mkdtemp(prefix="tp-bench-"))
    stack = Stack(folder)
    stack.start()
    assert stack.postgres is not None and stack.valkey is not None
    create_database(stack.postgres.url("postgres"))
    os.environ.update(
        {
            "VAR_DIR": str(folder),
            "DATABASE_URL": stack.postgres.url("tokenpools"),
            "REDIS_URL": stack.valkey.url,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "DEBUG": "0",
            "DEMO": "0",
        }
    )
    try:
        return measure(options)
    finally:
        stack.stop()
        if options.extra.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def measure(options: Options) -> int:
    """The table, then the ratios that matter."""
    from benchmarks._pages_world import BY_OTHERS, METHODS, Page, World, written

    report = Report("pages", options)
    with World("small" if options.quick else "large") as world:
        runs = QUICK_RUNS if options.quick else RUNS
        floor = world.floor(runs)
        report.section(f"{world.said}; server ms, p50 of {runs} runs, and queries")
        report.rate("the frame alone, nothing in it", median(floor), "ms")
        pages: list[Page] = []
        for page in world.pages(options.extra.only, runs):
            pages.append(page)
            label = f"{page.name}  ({page.queries} queries, {page.bytes_sent // 1024} KiB)"
            report.rate(label, page.times, f"ms, {median(page.cpu):.0f} of them CPU")
            report.ratio(f"{page.name} / frame", median(page.times), median(floor))
        report.section("against the limits")
        if pages:
            slowest = max(pages, key=lambda page: median(page.times))
            hungriest = max(pages, key=lambda page: page.queries)
            middle = [median(page.times) for page in pages if not page.part]
            report.ratio(
                f"slowest ({slowest.name}) / {MOST_MS:g} ms", median(slowest.times), MOST_MS, goal=1.0, at_most=True
            )
            report.ratio(
                f"most queries ({hungriest.name}) / {MOST_QUERIES}",
                hungriest.queries,
                MOST_QUERIES,
                goal=1.0,
                at_most=True,
            )
            report.ratio(f"page p50 / {USUAL_MS:g} ms", median(middle), USUAL_MS, goal=1.0, at_most=True)
            report.ratio(f"page p95 / {MOST_MS:g} ms", percentile(middle, 0.95), MOST_MS, goal=1.0, at_most=True)
        for name, why in world.skipped:
            if why != METHODS and not name.startswith(BY_OTHERS):
                print(f"  not measured: {name} ({why})")
        if options.extra.markdown:
            options.extra.markdown.write_text(written(world, floor, pages, runs))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
