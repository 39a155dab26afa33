"""The steps behind ``manage.py up``, in order; each undone at the end in the reverse order."""

from __future__ import annotations

import os
import time
from functools import partial

from portal import env
from portal.embedded import checks
from portal.embedded.demo_env import read_demo_env, write_demo_env
from portal.embedded.interrupts import Interrupts, Stopped
from portal.embedded.leftovers import stop_leftovers
from portal.embedded.logs import tail
from portal.embedded.programs import Place, place_of, programs, traffic
from portal.embedded.ready import wait_ready
from portal.embedded.screen import Screen
from portal.embedded.stack import Stack, create_database
from portal.embedded.supervisor import Supervisor
from portal.lib.errors import DomainError
from portal.management import prepare

READY_S = 90.0


def up(screen: Screen) -> None:
    """Serves until a stop is asked for. Raises DomainError with one sentence when it cannot start."""
    begun = time.monotonic()
    checks.check_python()
    place = place_of(os.environ)
    checks.check_folder(place.var_dir)
    with Interrupts() as interrupts, checks.only_one(place.var_dir):
        stack: Stack | None = None
        supervisor = Supervisor(place.run_dir, place.log_dir, place.environ, interrupts, screen.say, env.BASE_DIR)
        try:
            if left := stop_leftovers(place.run_dir, interrupts):
                screen.say(f"Stopped {left} processes that an earlier run left behind.")
            checks.check_port(place.address, place.web_port, "WEB_PORT")
            checks.check_port(place.address, place.gateway_port, "GATEWAY_PORT")
            stack = Stack(place.var_dir, postgres=not env.read("DATABASE_URL"), valkey=not env.read("REDIS_URL"))
            _servers(stack, screen)
            _prepare(screen)
            _serve(place, supervisor, interrupts, screen)
            screen.serving(place, read_demo_env(place.var_dir), time.monotonic() - begun)
            interrupts.defer()
            supervisor.watch(partial(stack.revive, screen.say))
        except Stopped:
            pass
        finally:
            interrupts.raising = False
            _stop(place, supervisor, stack, interrupts, screen)


def _servers(stack: Stack, screen: Screen) -> None:
    if stack.postgres is not None:
        with screen.step("PostgreSQL"):
            stack.postgres.start()
            create_database(stack.postgres.url("postgres"))
    if stack.valkey is not None:
        with screen.step("Valkey"):
            stack.valkey.start()
    prepare.check_database()
    prepare.check_store()


def _prepare(screen: Screen) -> None:
    if waiting := prepare.pending_migrations():
        with screen.step(f"Tables ({waiting} migrations)"):
            prepare.migrate()
    if fingerprint := prepare.static_files_changed():
        with screen.step("Static files"):
            prepare.collect_static_files(fingerprint)
    if env.read("DEMO") and prepare.has_command("demo"):
        with screen.step("Demo world"):
            prepare.fill_demo_world()
    prepare.close_connections()


def _serve(place: Place, supervisor: Supervisor, interrupts: Interrupts, screen: Screen) -> None:
    def pause(seconds: float) -> None:
        supervisor.check()
        interrupts.wait(seconds)

    with screen.step("Web, gateway, worker, beat"):
        supervisor.start(programs(place))
        missing = wait_ready([place.web_url, place.gateway_url], READY_S, pause)
        if missing:
            name = "web" if place.web_url in missing else "gateway"
            log = place.log_dir / f"{name}.log"
            raise DomainError("not_ready", f"{name} was not ready after {READY_S:g} s; the end of {log}:\n{tail(log)}")
    write_demo_env(place.var_dir, {"WEB_URL": place.web_url, "GATEWAY_URL": place.gateway_url})
    if env.read("DEMO") and prepare.has_command("traffic"):
        supervisor.start([traffic()])


def _stop(place: Place, supervisor: Supervisor, stack: Stack | None, interrupts: Interrupts, screen: Screen) -> None:
    begun = time.monotonic()
    with screen.console.status("Stopping (Ctrl-C again: at once) …"):
        supervisor.stop()
        stop_leftovers(place.run_dir, interrupts)
        if stack is not None:
            stack.stop(at_once=interrupts.forced)
    if interrupts.asked:
        screen.say(f"Stopped after {time.monotonic() - begun:.1f} s. Everything is kept in {place.var_dir}.")
