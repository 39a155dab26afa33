"""``manage.py traffic``: the demo tenants' requests through the gateway until told to end."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from pools.simulator.report import show, wide_console
from pools.simulator.senders import read_senders
from portal.demo.secrets import key_file
from portal.demo.traffic import Traffic, roles
from portal.lib.errors import DomainError


class Command(BaseCommand):
    """Ends on SIGTERM and SIGINT at once; survives an absent gateway."""

    help = "Send the demo tenants' requests through the gateway until told to end (Ctrl-C)."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--gateway-url", default="", help="default: the gateway of this installation")
        parser.add_argument("--keys", type=Path, help="key file (default: VAR_DIR/traffic.keys.json)")
        parser.add_argument("--minutes", type=float, default=0.0, help="end after so long (default: never)")
        parser.add_argument("--seed", type=int, help="the same requests in every run")
        parser.add_argument("--summary", action="store_true", help="print what clients saw at the end")
        parser.add_argument("--json", action="store_true", help="the summary as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        url = options["gateway_url"] or f"http://127.0.0.1:{settings.GATEWAY_PORT}"
        keys = options["keys"] or key_file(Path(settings.VAR_DIR))
        try:
            # Beside pools of one's own there is no demo: stay silent instead of being started again and again.
            parts = roles(read_senders(keys)) if options["keys"] or keys.exists() else []
        except DomainError as error:
            raise CommandError(str(error)) from error
        traffic = Traffic(url)
        seconds = asyncio.run(_run(traffic, parts, options["minutes"] * 60, options["seed"]))
        if options["json"]:
            self.stdout.write(json.dumps(traffic.tally.summary(seconds)))
        elif options["summary"]:
            show(wide_console(), traffic.tally.summary(seconds), [])


async def _run(traffic: Traffic, parts: Any, limit_s: float, seed: int | None) -> float:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, traffic.stop)
    if limit_s > 0:
        loop.call_later(limit_s, traffic.stop)
    began = loop.time()
    await traffic.run(parts, seed=seed)
    return loop.time() - began
