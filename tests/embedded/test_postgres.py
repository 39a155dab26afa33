"""A private PostgreSQL starts, keeps what was committed through every kind of end, and says why if it cannot start."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from portal.embedded import identity
from portal.embedded import postgres as module
from portal.embedded.postgres import Postgres
from portal.embedded.stack import Stack, create_database
from portal.lib import processes
from portal.lib.errors import DomainError
from portal.lib.sockets import make_socket_folder
from tests.embedded.as_nobody import run_as_nobody


def make(folder: Path) -> Postgres:
    """A durable one: what it survives is the point here."""
    return Postgres(folder / "data", make_socket_folder(folder), folder / "run", folder / "log" / "pg.log")


@pytest.fixture
def server(folder: Path) -> Iterator[Postgres]:
    server = make(folder)
    server.start()
    yield server
    server.stop()


def write(server: Postgres, number: int) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        connection.execute("INSERT INTO kept VALUES (%s)", (number,))


def read(server: Postgres) -> list[int]:
    with psycopg.connect(server.url("postgres")) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM kept ORDER BY 1")]


def test_it_listens_on_its_socket_alone_and_keeps_rows_over_a_restart(server: Postgres, folder: Path) -> None:
    write(server, 1)
    with psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    first = server.record
    assert first is not None
    server.stop()
    assert not processes.is_alive(first)
    server.start()
    assert read(server) == [1]
    assert stat.S_IMODE((folder / "data").stat().st_mode) == 0o700
    assert (folder / "data").stat().st_uid == os.geteuid()


def test_it_recovers_from_kill_9_with_every_committed_row(server: Postgres) -> None:
    write(server, 7)
    assert server.record is not None
    os.kill(server.record.pid, signal.SIGKILL)
    assert processes.wait(server.record, 10.0)
    server.start()  # the server's own children may still hold its memory: start retries
    assert read(server) == [7]


def test_two_starts_of_one_folder_end_with_one_server(server: Postgres, folder: Path) -> None:
    write(server, 3)
    second = make(folder)
    second.start()
    assert server.record is not None and not processes.is_alive(server.record)
    assert read(second) == [3]
    second.stop()


def test_an_interrupted_initdb_is_started_anew(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "half").write_text("x")
    server = make(folder)
    server.start()
    server.stop()


def test_a_long_path_works_through_a_short_folder(folder: Path) -> None:
    deep = folder / ("d" * 100) / ("e" * 60)
    stack = Stack(deep, valkey=False, fast=True)
    try:
        stack.start()
        assert stack.postgres is not None
        assert create_database(stack.postgres.url("postgres")) is True
        assert create_database(stack.postgres.url("postgres")) is False
        assert len(os.fsencode(stack.postgres.sockets)) < 60
    finally:
        stack.stop()
    assert not (deep / "sockets").is_symlink()


def test_foreign_data_is_refused_in_the_servers_own_words(server: Postgres, folder: Path) -> None:
    server.stop()
    (folder / "data" / "PG_VERSION").write_text("9.1\n")
    with pytest.raises(DomainError, match=r"did not start: .*(incompatible|version).*DATABASE_URL") as caught:
        server.start()
    assert caught.value.code == "postgres_failed"


def test_no_server_on_the_machine_names_database_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_runs", lambda folder: False)
    with pytest.raises(DomainError, match="Set DATABASE_URL to a PostgreSQL server of your own"):
        module.find_binaries()


STAY = """
import sys
from pathlib import Path
from portal.embedded.stack import Stack
stack = Stack(Path(sys.argv[1]), fast=True)
stack.start()
print(stack.postgres.record.pid, stack.valkey.record.pid, flush=True)
sys.stdin.read()
"""


def test_the_servers_end_with_a_killed_parent(folder: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", STAY, str(folder / "var")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pids = [int(text) for text in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    assert len(pids) == 2
    for pid in pids:
        assert processes.wait(processes.ProcessRecord("server", pid, processes.start_time(pid), ()), 15.0)


ALONE = """
import sys
from pathlib import Path
from portal.embedded.postgres import Postgres
from portal.lib.sockets import make_socket_folder
folder = Path(sys.argv[1])
server = Postgres(folder / "data", make_socket_folder(folder), folder / "run", folder / "log" / "pg.log", fast=True)
server.start()
print("ready as", __import__("os").geteuid())
server.stop()
"""


def test_an_ordinary_user_needs_no_namespace(folder: Path) -> None:
    assert run_as_nobody(ALONE, folder, str(folder / "var")) == "ready as 65534\n"
    assert (folder / "var" / "data" / "PG_VERSION").stat().st_uid == 65534
    assert not (folder / "var" / "data" / "postmaster.pid").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its identity")
def test_root_without_namespaces_gives_the_folder_to_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "namespaces_work", lambda: False)
    folder.chmod(0o755)
    server = make(folder)
    server.start()
    write(server, 5)
    assert read(server) == [5]
    assert (folder / "data").stat().st_uid == 65534
    server.stop()
