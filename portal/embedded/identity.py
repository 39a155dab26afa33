"""PostgreSQL refuses to run as root: here root gives it another identity, and files keep their owner."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

from portal.lib.processes import follow_parent
from portal.lib.sockets import NOBODY

CLONE_NEWUSER = 0x10000000


def postgres_preexec(folders: list[Path]) -> Callable[[], None] | None:
    """What the child that becomes PostgreSQL (or initdb) does first; it also ends with its parent (SIGINT: fast stop).

    Not root: nothing else. Root: a user namespace in which we are 65534, files stay root's. Where namespaces are
    forbidden: ``folders`` are given to 65534 and the child changes to it.
    """
    follow = follow_parent(signal.SIGINT)
    if os.geteuid() != 0:
        return follow
    change = enter_user_namespace() if namespaces_work() else _become_nobody(folders)

    def go() -> None:
        change()
        if follow is not None:  # after the change: a change of identity clears it
            follow()

    return go


def enter_user_namespace() -> Callable[[], None]:
    """For ``preexec_fn``: a new user namespace that shows our user and group as 65534. OSError where forbidden."""
    libc = ctypes.CDLL(None, use_errno=True)

    def go() -> None:
        uid, gid = os.geteuid(), os.getegid()
        if libc.unshare(CLONE_NEWUSER):
            raise OSError(ctypes.get_errno(), "unshare")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{NOBODY} {uid} 1"),
            ("gid_map", f"{NOBODY} {gid} 1"),
        ):
            descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
            os.write(descriptor, text.encode())
            os.close(descriptor)

    return go


@cache
def namespaces_work() -> bool:
    """Whether this system lets us open a user namespace (some containers forbid it)."""
    try:
        subprocess.run(["/bin/true"], preexec_fn=enter_user_namespace(), check=True, timeout=10)
    except (OSError, subprocess.SubprocessError, AttributeError):
        return False
    return True


def _become_nobody(folders: list[Path]) -> Callable[[], None]:
    try:
        group = pwd.getpwuid(NOBODY).pw_gid
    except KeyError:
        group = NOBODY
    for folder in folders:
        os.chown(folder, NOBODY, group)

    def go() -> None:
        os.setgroups([])
        os.setgid(group)
        os.setuid(NOBODY)

    return go
