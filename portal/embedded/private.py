"""A whole installation of its own in a folder of its own: for ``smoke`` and for tests that need every process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from portal.embedded.checks import check_folder, free_port, only_one
from portal.embedded.interrupts import Interrupts
from portal.embedded.leftovers import stop_leftovers
from portal.embedded.logs import tail
from portal.embedded.programs import Place, manage, place_of, programs
from portal.embedded.ready import wait_ready
from portal.embedded.stack import Stack, create_database
from portal.embedded.supervisor import Supervisor
from portal.env import BASE_DIR
from portal.lib.errors import DomainError

READY_S = 60.0
OWN = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DJANGO_SETTINGS_MODULE", "DEBUG", "BIND_ADDRESS")


@dataclass(frozen=True, slots=True)
class PrivateStack:
    """A running private installation. ``environ`` makes any child process (or ``manage.py`` command) part of it."""

    place: Place
    supervisor: Supervisor

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment of its processes, DATABASE_URL and REDIS_URL included."""
        return self.place.environ

    def run(self, *words: str, timeout_s: float = 120.0) -> str:
        """Runs a management command in it and returns what it printed. Raises DomainError ``command_failed``."""
        done = subprocess.run(
            manage(*words), env=dict(self.environ), capture_output=True, text=True, check=False, timeout=timeout_s
        )
        if done.returncode:
            words_said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise DomainError("command_failed", f"manage.py {' '.join(words)} failed: {' '.join(words_said)}")
        return done.stdout


@contextmanager
def private_servers(folder: Path, environ: Mapping[str, str] | None = None, *, fast: bool = True) -> Iterator[Place]:
    """PostgreSQL (migrated) and Valkey in ``folder``, no program yet; stops both at the end. Yields the place."""
    check_folder(folder)
    base = {name: value for name, value in (os.environ if environ is None else environ).items() if name not in OWN}
    ports = {"WEB_PORT": str(free_port()), "GATEWAY_PORT": str(free_port())}
    with only_one(folder):
        stack = Stack(folder, fast=fast)
        assert stack.postgres is not None and stack.valkey is not None
        urls = {"DATABASE_URL": stack.postgres.url("tokenpools"), "REDIS_URL": stack.valkey.url}
        place = place_of({**base, **ports, **urls, "VAR_DIR": str(folder), "DEMO": "0"})
        try:
            stack.start()
            create_database(stack.postgres.url("postgres"))
            subprocess.run(manage("migrate", "--verbosity", "0"), env=dict(place.environ), check=True)
            yield place
        finally:
            stack.stop()


@contextmanager
def private_stack(
    folder: Path, environ: Mapping[str, str] | None = None, *, fast: bool = True
) -> Iterator[PrivateStack]:
    """The above with web, gateway, worker and beat, both doors ready. From the main thread only.

    ``environ`` is the environment to start from (default: ours); folder, ports, URLs and keys in it are replaced.
    Stops every process, endpoints included, before it returns. Raises DomainError ``not_ready`` with the log's end.
    """
    with private_servers(folder, environ, fast=fast) as place:
        calm = Interrupts()  # the caller's Ctrl-C stays an exception of the caller
        supervisor = Supervisor(place.run_dir, place.log_dir, place.environ, calm, lambda _: None, BASE_DIR)
        try:
            supervisor.start(programs(place))
            missing = wait_ready([place.web_url, place.gateway_url], READY_S)
            if missing:
                log = place.log_dir / ("web.log" if missing[0] == place.web_url else "gateway.log")
                raise DomainError("not_ready", f"{missing[0]} was not ready after {READY_S:g} s: {tail(log)}")
            yield PrivateStack(place, supervisor)
        finally:
            supervisor.stop()
            stop_leftovers(place.run_dir, calm)
