"""``manage.py replay``: send a recorded workload through the gateway and print what its clients saw."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pools.models import Pool
from pools.services.overcommit import Watch
from pools.simulator.caller import Retries
from pools.simulator.replay import Pace, Replay
from pools.simulator.report import show, wide_console
from pools.simulator.scripts import Casting, fit, orders
from pools.simulator.senders import read_senders
from pools.simulator.traces import read_trace, trace_format
from portal.lib.errors import DomainError


class Command(BaseCommand):
    """Ctrl-C ends it early, with the summary."""

    help = "Replay a trace (Azure CSV, ServeGen CSV or Mooncake JSONL; plain or .gz) through the gateway."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("--trace", type=Path, required=True, help="the file; its kind is told by its first line")
        add("--pool", required=True, help="slug of the pool the requests go to")
        add("--speed", type=_positive, default=1.0, help="trace seconds per second (default 1)")
        add("--minutes", type=_positive, default=5.0, help="wall-clock minutes to send for (default 5)")
        add("--concurrency", type=int, default=128, help="requests in flight at once (default 128)")
        add("--keys", type=Path, help="key file (default: VAR_DIR/traffic.keys.json of the demo)")
        add("--gateway-url", default="", help="default: the gateway of this installation")
        add("--assign", choices=("size", "hash"), default="size", help="how trace clients are spread over the keys")
        add("--keep", type=_share, default=1.0, help="share of the trace's requests to send, 0 to 1 (default 1)")
        add("--length-scale", type=_positive, help="multiply token lengths (default: so that they fit the model)")
        add("--stream", type=_share, default=0.8, help="share of requests that stream, 0 to 1 (default 0.8)")
        add("--retries", type=int, default=2, help="further attempts after a refusal, waiting as told (default 2)")
        add("--drain", type=float, default=60.0, help="seconds to wait for the last answers (default 60)")
        add("--json", action="store_true", help="print the summary as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            summary, notes = self._replay(options)
        except DomainError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({**summary, "notes": notes}))
        else:
            show(wide_console(), summary, notes)

    def _replay(self, options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        pool = Pool.objects.select_related("current_profile").filter(slug=options["pool"]).first()
        if pool is None or pool.current_profile is None:
            slugs = ", ".join(Pool.objects.values_list("slug", flat=True)) or "none"
            raise DomainError("not_found", f"There is no pool {options['pool']!r} to send to; there are: {slugs}.")
        senders = read_senders(options["keys"] or Path(settings.VAR_DIR) / "traffic.keys.json", pool.slug)
        casting = Casting(
            pool.current_profile.context_length,
            options["length_scale"],
            options["keep"],
            options["stream"],
            by_size=options["assign"] == "size",
        )
        kind = trace_format(options["trace"])
        fitted = fit(read_trace(options["trace"]), casting)
        pace = Pace(
            seconds=options["minutes"] * 60,
            speed=options["speed"],
            concurrency=max(1, options["concurrency"]),
            drain_s=options["drain"],
            retries=Retries(max(0, options["retries"])),
        )
        replay = Replay(options["gateway_url"] or f"http://127.0.0.1:{settings.GATEWAY_PORT}", pace)
        watch = Watch(pool.pk)
        made = orders(read_trace(options["trace"]), senders, casting, fitted)
        with ExitStack() as stack:
            stack.enter_context(watch)
            progress = None if options["json"] else stack.enter_context(_bar())
            asyncio.run(_run(replay, made, progress))
        summary = {"trace": kind, "pool": pool.slug, **replay.tally.summary(replay.elapsed_s)}
        summary["over_commit"] = watch.seen.summary()
        notes = [fitted.sentence, "e2e counts from the first attempt, waits included; TTFT from the attempt let in."]
        if replay.stopped:
            notes.insert(0, "It was ended before its time.")
        return summary, notes


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[now]}"))
    return Progress(*columns, console=Console(stderr=True), transient=True)


async def _run(replay: Replay, made: Any, progress: Progress | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, replay.stop)
    if progress is None:
        await replay.run(made)
        return
    task = progress.add_task("replay", total=replay.pace.seconds, now="")

    def step(seconds: float) -> None:
        seen = replay.tally.all
        text = f"{seen.admitted:,} admitted, {seen.endings['refused']:,} refused, {len(replay.in_flight):,} under way"
        progress.update(task, completed=min(seconds, replay.pace.seconds), now=text)

    await replay.run(made, step)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} must be 0 to 1")
    return value
