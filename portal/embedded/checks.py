"""What must be true before anything is started. Each check that fails is one sentence and changes nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal.lib.errors import DomainError

OLDEST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 500_000_000
LOCK = "up.lock"


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> None:
    """Raises DomainError ``old_python``."""
    if version < OLDEST_PYTHON:
        seen, wanted = ".".join(map(str, version)), ".".join(map(str, OLDEST_PYTHON))
        raise DomainError("old_python", f"This is Python {seen}; Token Pools needs {wanted} or newer.")


def check_folder(var_dir: Path) -> None:
    """The folder can be made and written, and its disk has room. Raises ``no_permission`` or ``disk_full``."""
    try:
        var_dir.mkdir(parents=True, exist_ok=True)
        probe = var_dir / f".probe-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise _disk_full(var_dir, 0) from error
        raise DomainError(
            "no_permission",
            f"{var_dir} cannot be written ({error.strerror}). Correct its permissions or set VAR_DIR elsewhere.",
        ) from error
    free = shutil.disk_usage(var_dir).free
    if free < LEAST_FREE_BYTES:
        raise _disk_full(var_dir, free)


def check_port(address: str, port: int, setting: str) -> None:
    """A port we want to listen on is free. Raises ``port_busy``, ``port_refused`` or ``bad_address``."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise DomainError("bad_address", f"BIND_ADDRESS {address!r} is not an address of this machine.") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise DomainError(
                    "port_busy",
                    f"Port {port} of {address} is in use. Stop what listens there or set {setting} to a free port.",
                ) from error
            raise DomainError(
                "port_refused",
                f"Port {port} of {address} cannot be opened ({error.strerror}). Set {setting} or BIND_ADDRESS.",
            ) from error


def free_port(address: str = "127.0.0.1") -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@contextmanager
def only_one(var_dir: Path) -> Iterator[None]:
    """Holds the folder for this process; the lock ends with it, however that ends. Raises ``already_up``: the pid."""
    descriptor = os.open(var_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise DomainError(
                "already_up",
                f"Token Pools already runs in {var_dir} as process {pid}. Stop it (Ctrl-C there, or: kill {pid}) "
                "or set VAR_DIR, WEB_PORT and GATEWAY_PORT for a second one.",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _disk_full(var_dir: Path, free: int) -> DomainError:
    wanted = LEAST_FREE_BYTES // 1_000_000
    return DomainError(
        "disk_full",
        f"The disk of {var_dir} has {free // 1_000_000} MB left; {wanted} MB are needed. Make room or set VAR_DIR.",
    )
