"""``manage.py demo``: fill an empty installation with the demo world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal.demo.world import world_make
from portal.lib.clock import now
from portal.lib.errors import DomainError


class Command(BaseCommand):
    """Run again it completes what is missing; an installation with pools of its own is left alone."""

    help = "Fill an empty installation with the demo world; logins and keys go to VAR_DIR/demo.env (mode 600)."

    def handle(self, *args: Any, **options: Any) -> None:
        var_dir = Path(settings.VAR_DIR)
        try:
            made = world_make(var_dir, now())
        except DomainError as error:
            raise CommandError(str(error)) from error
        if made.skipped:
            self.stdout.write("This installation has pools of its own; the demo adds nothing.")
            return
        self.stdout.write(
            f"The demo world is there: {made.pools} pools, {made.tiers} tiers, {made.tenants} tenants, "
            f"{made.entitlements} entitlements, {made.people} logins and {made.keys} keys are new. "
            f"Logins and keys: {var_dir / 'demo.env'}"
        )
