"""The steps behind ``manage.py seed``: servers where none run, tables, the world with a bar, then the portal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pools.models import Entitlement, Pool
from portal import env
from portal.demo import secrets
from portal.embedded import checks
from portal.embedded.interrupts import Interrupts, Stopped
from portal.embedded.programs import place_of, programs
from portal.embedded.ready import wait_ready
from portal.embedded.screen import Screen
from portal.embedded.stack import Stack, create_database
from portal.embedded.supervisor import Supervisor
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.management import prepare
from portal.seed.live import Bustle, in_flight_of
from portal.seed.sizes import Size
from portal.seed.world import EXPECTED_ROWS, Seeded, world_check, world_seed

READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for; ``size`` None only serves what is there."""

    size: Size | None
    seed: int
    add: bool
    serve: bool


def seed_and_serve(wanted: Wanted, screen: Screen | None = None) -> None:
    """Raises DomainError ``not_empty`` and whatever keeps a server from starting."""
    screen = screen or Screen(Console(highlight=False))
    with Interrupts() as interrupts:
        try:
            with servers(screen) as stack:
                if prepare.pending_migrations():
                    with screen.step("Tables"):
                        prepare.migrate()
                if wanted.size is not None:
                    seed(wanted.size, wanted.seed, screen, add=wanted.add)
                if wanted.serve:
                    serve(stack, interrupts, screen, wanted.seed)
        except Stopped:
            screen.say("Stopped. What was not finished was not kept.")


@contextmanager
def servers(screen: Screen) -> Iterator[Stack | None]:
    """The servers of the installation: those that run, else the embedded ones, stopped again at the end."""
    try:
        prepare.check_database()
        prepare.check_store()
    except DomainError:
        if env.read("DATABASE_URL") or env.read("REDIS_URL"):
            raise
    else:
        yield None
        return
    var_dir = env.var_dir()
    checks.check_folder(var_dir)
    with checks.only_one(var_dir):
        stack = Stack(var_dir)
        try:
            with screen.step("PostgreSQL, Valkey"):
                stack.start()
                assert stack.postgres is not None
                create_database(stack.postgres.url("postgres"))
            yield stack
        finally:
            prepare.close_connections()
            stack.stop()


def seed(size: Size, number: int, screen: Screen, *, add: bool = False) -> Seeded:
    """The world, with a bar; logins go where the demo's do."""
    world_check(add)
    var_dir, begun = env.var_dir(), time.monotonic()
    password = secrets.new_password()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=screen.console
    )
    with bar:
        task = bar.add_task("Seed", total=EXPECTED_ROWS[size.name])
        seeded = world_seed(
            size, number, password, now(), lambda step, rows: bar.update(task, description=step, advance=rows), add=add
        )
        bar.update(task, description="rows", total=seeded.rows, completed=seeded.rows)
    taken = {name for name in secrets.known(var_dir) if name.endswith("_EMAIL")} if add else set()
    fresh = {who: email for who, email in seeded.logins.items() if f"{who}_EMAIL" not in taken}
    secrets.keep(
        var_dir,
        {f"{who}_EMAIL": email for who, email in fresh.items()} | {f"{who}_PASSWORD": password for who in fresh},
    )
    screen.say(f"{seeded.rows:,} rows, {seeded.entitlements:,} entitlements in {time.monotonic() - begun:.0f} s.")
    screen.say(f"Logins: {', '.join(seeded.logins.values())}; their password is in {var_dir / 'demo.env'}.")
    if fresh != seeded.logins:
        screen.say("Logins that were in demo.env already are untouched; the new people cannot sign in with a password.")
    return seeded


def bustle(number: int) -> Bustle:
    """Requests for every pool of the installation."""
    pools = list(Pool.objects.filter(archived_at__isnull=True).order_by("pk").values_list("pk", flat=True))
    return Bustle(pools, in_flight_of(Entitlement.objects.count()), number)


def serve(stack: Stack | None, interrupts: Interrupts, screen: Screen, number: int) -> None:
    """The web program and one tick a second, until a stop is asked for. No worker: its reconcilers would find that the
    made-up replicas do not answer."""
    place = place_of(os.environ)
    checks.check_port(place.address, place.web_port, "WEB_PORT")
    if fingerprint := prepare.static_files_changed():
        with screen.step("Static files"):
            prepare.collect_static_files(fingerprint)
    busy = bustle(number)
    with screen.step("Requests in flight"):
        busy.begin(now())
    supervisor = Supervisor(place.run_dir, place.log_dir, place.environ, interrupts, screen.say, env.BASE_DIR)
    try:
        with screen.step("Web"):
            supervisor.start([program for program in programs(place) if program.name == "web"])
            if wait_ready([place.web_url], READY_S, interrupts.wait):
                raise DomainError("not_ready", f"The portal was not ready after {READY_S:g} s; see {place.log_dir}.")
        secrets.keep(place.var_dir, {"WEB_URL": place.web_url})
        screen.say(f"Portal: {place.web_url} · logins: {settings.VAR_DIR}/demo.env · Ctrl-C stops it.")
        interrupts.defer()
        supervisor.watch(lambda: busy.turn(now()))
    finally:
        supervisor.stop()
        if stack is None:
            prepare.close_connections()
