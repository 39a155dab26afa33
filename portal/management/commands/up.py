"""``manage.py up``: the whole product on one machine, until Ctrl-C."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from portal.embedded.screen import Screen
from portal.management.launch import up


class Command(BaseCommand):
    """Starts the embedded servers, web, gateway, workers and demo traffic; stops them all on Ctrl-C or SIGTERM."""

    help = "Start everything here: servers, web, gateway, workers, demo traffic. Ctrl-C stops it all."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs until stopped."""
        up(Screen())
