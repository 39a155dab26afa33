"""``manage.py smoke``: run the whole product privately under load, then audit its books."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from pools.simulator.report import show, wide_console
from pools.simulator.traces import trace_format
from portal.lib.errors import DomainError
from portal.smoke.report import show_checks
from portal.smoke.run import Plan, Smoked, smoke
from portal.smoke.stage import stage


class Command(BaseCommand):
    """Exit status 0 when all agrees, 1 when a check is wrong, 2 when the run could not be made."""

    help = "Run everything in a folder of its own under load, then check reservations, usage, counters and ledger."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("--trace", type=Path, help="replay this trace (default: requests made up by the generator)")
        add("--minutes", type=float, default=1.0, help="how long to send (default 1)")
        add("--speed", type=float, default=1.0, help="trace seconds per second (default 1)")
        add("--concurrency", type=int, default=128, help="requests in flight at once (default 128)")
        add("--json", action="store_true", help="print one JSON object")
        add("--folder", type=Path, help="where the private installation lives (default: a temporary folder)")
        add("--keep", action="store_true", help="leave the temporary folder behind")
        add("--inside", default="", help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["inside"]:
                self._inside(options)
                return
            if options["trace"] is not None:
                trace_format(options["trace"])
            sys.exit(stage(_words(options), options["folder"], keep=options["keep"]))
        except DomainError as error:
            raise CommandError(str(error), returncode=2) from error

    def _inside(self, options: dict[str, Any]) -> None:
        console = Console(stderr=True)
        plan = Plan(
            gateway_url=options["inside"],
            var_dir=Path(settings.VAR_DIR),
            seconds=max(1.0, options["minutes"] * 60),
            trace=options["trace"],
            speed=options["speed"],
            concurrency=options["concurrency"],
        )
        result = smoke(plan, lambda words: console.print(f"· {words}", style="dim", highlight=False))
        if options["json"]:
            self.stdout.write(json.dumps(_document(result)))
        else:
            show(wide_console(), result.summary, result.notes)
            show_checks(wide_console(), result.checks)
        sys.exit(0 if result.passed else 1)


def _words(options: dict[str, Any]) -> list[str]:
    words = [f"--{name}={options[name]}" for name in ("minutes", "speed", "concurrency")]
    if options["trace"] is not None:
        words.append(f"--trace={options['trace'].resolve()}")
    return [*words, "--json"] if options["json"] else words


def _document(result: Smoked) -> dict[str, Any]:
    return {
        "passed": result.passed,
        "checks": [asdict(check) for check in result.checks],
        "summary": result.summary,
        "notes": result.notes,
    }
