"""Bringing an installation up to date before it serves: tables, static files, demo world. Quick when it is."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import sys
from pathlib import Path
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command, get_commands
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from portal import env
from portal.lib.errors import DomainError

STAMP = ".stamp"


def check_database() -> None:
    """Raises DomainError ``no_database`` when PostgreSQL does not answer."""
    try:
        psycopg.connect(env.database_url(), connect_timeout=5).close()  # not the pool's: it would ask for 10 s
    except psycopg.OperationalError as error:
        why = str(error).strip().splitlines()[-1]
        raise DomainError("no_database", f"PostgreSQL does not answer: {why}. Correct DATABASE_URL.") from error


def check_store() -> None:
    """Raises DomainError ``no_store`` when Valkey or Redis does not answer or is too old for functions."""
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=5) as client:
            info: dict[str, Any] = client.info("server")
    except redis.RedisError as error:
        raise DomainError("no_store", f"Valkey does not answer: {error}. Correct REDIS_URL.") from error
    version = str(info.get("valkey_version") or info.get("redis_version", "0"))
    if int(version.partition(".")[0]) < 7:
        raise DomainError("old_store", f"The store at REDIS_URL is version {version}; functions need 7 or newer.")


def pending_migrations() -> int:
    """How many migrations the database still lacks."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def migrate() -> None:
    """Applies them."""
    call_command("migrate", verbosity=0, interactive=False)


def static_files_changed() -> str:
    """The fingerprint of the static files if they differ from those collected last time, else ""."""
    wanted = _fingerprint()
    stamp = Path(settings.STATIC_ROOT) / STAMP
    return "" if stamp.exists() and stamp.read_text() == wanted else wanted


def collect_static_files(fingerprint: str) -> None:
    """Collects, names by content and compresses them; remembers for which sources."""
    call_command("collectstatic", verbosity=0, interactive=False, clear=False)
    (Path(settings.STATIC_ROOT) / STAMP).write_text(fingerprint)


def has_command(name: str) -> bool:
    """Whether there is such a management command."""
    return name in get_commands()


def fill_demo_world() -> None:
    """Makes the demo world where there is none; what it made is on the screen in the end."""
    call_command("demo", stdout=io.StringIO())


def close_connections() -> None:
    """Before the long watch: this process needs the database no more."""
    connection.close()
    if isinstance(connection, DatabaseWrapper):
        connection.close_pool()


def _fingerprint() -> str:
    """Names, sizes and times of our own files; for those of packages their versions say enough."""
    digest = hashlib.sha256(sys.version.encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            digest.update(f"{name}\0{storage.size(name)}\0".encode())
    for package in ("django", "plotly", "starlette-admin", "whitenoise"):
        digest.update(importlib.metadata.version(package).encode())
    for folder in settings.STATICFILES_DIRS:
        for path in sorted(Path(str(folder)).rglob("*")):
            digest.update(f"{path}\0{path.stat().st_mtime_ns}\0".encode())
    return digest.hexdigest()
