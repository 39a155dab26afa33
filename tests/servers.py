"""The servers of a test run: one PostgreSQL for the whole run, one Valkey for each pytest process; gone when it ends.

They are started when ``tests.settings`` is imported, which is before Django, conftest files and tests are. Under xdist
the controller starts PostgreSQL and its workers find the URL in the environment they inherit; pytest-django gives each
worker a database of its own, this module a Valkey. Nothing listens on the network or touches the developer's VAR_DIR.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from portal.embedded.postgres import Postgres
from portal.embedded.stack import create_database
from portal.embedded.valkey import Valkey
from portal.lib.sockets import make_socket_folder

RUN = "TOKEN_POOLS_TEST_RUN"
FOREIGN_SETTINGS = ("DEBUG", "MECHANISM_MODE", "LOG_LEVEL", "TRUSTED_ORIGINS", "SECURE_COOKIES", "ALLOWED_HOSTS")

_started: list[Postgres | Valkey] = []
_folders: list[Path] = []


def start() -> None:
    """Starts what this process still lacks and puts the URLs into ``os.environ``; only the first call does anything."""
    if _started:
        return
    folder = Path(tempfile.mkdtemp(prefix="tp-test-"))
    _folders.append(folder)
    atexit.register(stop)
    sockets = make_socket_folder(folder)
    if RUN not in os.environ:
        postgres = Postgres(folder / "postgres", sockets, folder / "run", folder / "log" / "postgres.log", fast=True)
        postgres.start()
        _started.append(postgres)
        create_database(postgres.url("postgres"))
        os.environ.update({RUN: str(os.getpid()), "DATABASE_URL": postgres.url("tokenpools")})
    valkey = Valkey(folder / "valkey", sockets, folder / "run", folder / "log" / "valkey.log", fast=True)
    valkey.start()
    _started.append(valkey)
    for name in FOREIGN_SETTINGS:
        os.environ.pop(name, None)
    os.environ.update(
        {"REDIS_URL": valkey.url, "VAR_DIR": str(folder), "SECRET_KEY": "only for tests, " * 4, "DEMO": "0"}
    )


def stop() -> None:
    """Stops the servers of this process and removes their folders."""
    while _started:
        _started.pop().stop()
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)
