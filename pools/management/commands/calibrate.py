"""``manage.py calibrate FOLDER``: how close the simulated endpoint is to a measured one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from pools.simulator import calibrate, fitting, measured
from pools.simulator.profile import PRESETS
from portal.lib.errors import DomainError


class Command(BaseCommand):
    """Prints measured against model with relative errors, and what was fitted."""

    help = "Compare the simulated endpoint with a measured vLLM run (meta.json, requests.jsonl, timeseries.csv)."

    def add_arguments(self, parser: CommandParser) -> None:
        """FOLDER, where the costs come from, and the form of the answer."""
        parser.add_argument("folder", type=Path, help="the folder of the measured run")
        source = parser.add_mutually_exclusive_group()
        source.add_argument(
            "--fit-on", type=Path, metavar="FOLDER", help="fit on this other run, so that FOLDER judges unseen data"
        )
        source.add_argument("--preset", choices=sorted(PRESETS), help="use this preset's step costs and fit nothing")
        parser.add_argument("--trials", type=int, default=60, help="virtual runs of the search; 0 = least squares only")
        parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")

    def handle(self, *args: Any, **options: Any) -> None:
        """Load, fit or take the costs, compare, print."""
        trials = options["trials"]
        try:
            run = measured.load(options["folder"])
            if options["preset"]:
                result = calibrate.calibrate(
                    run, PRESETS[options["preset"]].costs, method=f"preset {options['preset']}, not fitted here"
                )
            elif options["fit_on"]:
                other = measured.load(options["fit_on"])
                costs = fitting.least_squares(other)
                costs = fitting.refine(other, costs, trials=trials) if trials else costs
                result = calibrate.calibrate(run, costs, method=f"fitted on another run ({options['fit_on'].name})")
            else:
                result = calibrate.calibrate(run, trials=trials)
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(result.as_json()) if options["json"] else calibrate.as_text(result))
