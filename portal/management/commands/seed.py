"""``manage.py seed``: fill an empty installation with a large made-up world, and look at it."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand

from portal.management.seeding import Wanted, seed_and_serve
from portal.seed.sizes import SIZES


class Command(BaseCommand):
    """Starts the embedded servers for its time where they do not run. Stopped half-way it leaves nothing behind."""

    help = "Fill an empty installation with a large made-up world; --serve shows it in the portal, alive."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("--size", choices=sorted(SIZES), help="large: 500 tenants, 200 pools, 50,000 entitlements")
        add("--seed", type=int, default=1, help="the same number makes the same world (default 1)")
        add("--force-add", action="store_true", help="put it beside what the installation has already")
        add(
            "--serve",
            action="store_true",
            help="then serve the portal with live numbers until Ctrl-C",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Seeds, serves, or both. DomainErrors pass through: manage.py says them in one line."""
        if not options["size"] and not options["serve"]:
            self.print_help("manage.py", "seed")
            return
        size = SIZES[options["size"]] if options["size"] else None
        seed_and_serve(Wanted(size, options["seed"], options["force_add"], options["serve"]))
