"""Both embedded servers under one folder: started in order, stopped in reverse."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from portal.embedded.postgres import Postgres
from portal.embedded.valkey import Valkey
from portal.lib.errors import DomainError
from portal.lib.sockets import DATABASE, make_socket_folder, remove_socket_folder

RETRY_S = 5.0


class Stack:
    """PostgreSQL and Valkey under ``var_dir``; either can be left out when a URL names another server.

    ``fast`` gives up durability for speed: tests only.
    """

    def __init__(self, var_dir: Path, *, postgres: bool = True, valkey: bool = True, fast: bool = False) -> None:
        self.var_dir = var_dir
        self._due_at = 0.0
        sockets = make_socket_folder(var_dir)
        run, logs = var_dir / "run", var_dir / "log"
        self.postgres = (
            Postgres(var_dir / "postgres", sockets, run, logs / "postgres.log", fast=fast) if postgres else None
        )
        self.valkey = Valkey(var_dir / "valkey", sockets, run, logs / "valkey.log", fast=fast) if valkey else None

    def start(self) -> None:
        """Starts what is wanted; when the second fails the first is stopped again. Raises DomainError."""
        try:
            if self.postgres is not None:
                self.postgres.start()
            if self.valkey is not None:
                self.valkey.start()
        except BaseException:
            self.stop()
            raise

    def revive(self, say: Callable[[str], None]) -> None:
        """Starts again what ended unasked, at most every few seconds; ``say`` hears of it. Raises nothing."""
        for server in (self.postgres, self.valkey):
            if server is None or server.is_running() or time.monotonic() < self._due_at:
                continue
            name = type(server).__name__
            try:
                server.start()
                say(f"{name} had ended and runs again; see {server.log}")
            except DomainError as error:
                say(str(error))
                self._due_at = time.monotonic() + RETRY_S

    def stop(self, *, at_once: bool = False) -> None:
        """Stops both; safe at any time, any number of times. ``at_once``: recovery is left to the next start."""
        if self.valkey is not None:
            self.valkey.stop()
        if self.postgres is not None:
            self.postgres.stop(at_once=at_once)
        remove_socket_folder(self.var_dir)


def create_database(server_url: str, name: str = DATABASE) -> bool:
    """Creates a database if it is not there; True when it was made. ``server_url`` names any database of the server."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            return False
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return True
