"""Local processes that outlive a function call: each in a session of its own, remembered in a JSON file, stopped.

A record names a process by its id AND the moment it started, so that an id the system has given to somebody else
since is never signalled. Used by the process provider (endpoints) and by the supervisor behind ``manage.py up``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal as signals
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from portal.lib.errors import DomainError

PR_SET_PDEATHSIG = 1
KILL_WAIT_S = 5.0
POLL_S = 0.02

_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One started process; ``started`` is the kernel's start time of ``pid`` as text, "" where it tells none."""

    name: str
    pid: int
    started: str
    argv: tuple[str, ...]
    log: str = ""
    file: str = ""


def spawn(
    name: str,
    argv: Sequence[str],
    run_dir: Path,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    *,
    cwd: Path | None = None,
    preexec: Callable[[], None] | None = None,
) -> ProcessRecord:
    """Starts ``argv`` in a new session and writes ``run_dir/<name>.json`` (mode 600).

    ``env`` is the child's whole environment (None: ours). ``log`` receives both outputs, appended; None discards them.
    ``preexec`` runs in the child before the program (see :func:`follow_parent`).
    Raises DomainError ``already_running`` while a process of that name is alive, ``cannot_start`` when it is refused.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / f"{name}.json"
    if (old := _load(path)) and is_alive(old):
        raise DomainError("already_running", f"{name} already runs as process {old.pid}. Stop it first.", pid=old.pid)
    with contextlib.ExitStack() as stack:
        output: IO[bytes] | int = subprocess.DEVNULL
        try:
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(log.open("ab"))
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=None if env is None else dict(env),
                start_new_session=True,
                preexec_fn=preexec,
            )
        except (OSError, subprocess.SubprocessError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise DomainError("cannot_start", f"{name} could not be started ({argv[0]}): {why}") from error
    _children[child.pid] = child
    record = ProcessRecord(name, child.pid, start_time(child.pid), tuple(argv), str(log or ""), str(path))
    _save(path, record)
    return record


def is_alive(record: ProcessRecord) -> bool:
    """Whether this very process (not another one with its id) still runs; one that waits to be reaped does not."""
    if child := _children.get(record.pid):
        return child.poll() is None  # a leader whose threads are still ending looks like a zombie but has no exit code
    seen = start_time(record.pid)
    if not seen:
        return False
    return not record.started or seen == record.started


def exit_code(record: ProcessRecord) -> int | None:
    """How a process that we started ended (negative: by that signal); None while it runs or is not our child."""
    child = _children.get(record.pid)
    return None if child is None else child.poll()


def wait(record: ProcessRecord, timeout_s: float) -> bool:
    """Waits until the process has ended; False when it still runs after ``timeout_s`` seconds."""
    end = time.monotonic() + timeout_s
    while is_alive(record):
        left = end - time.monotonic()
        if left <= 0:
            return False
        _wait_some(record.pid, left)
    return True


def stop(record: ProcessRecord, timeout_s: float = 10.0, signal: int = signals.SIGTERM) -> bool:
    """Asks the process to end, waits, then kills its whole session; the record file is removed.

    True when it ended by itself in time. The polite signal goes to the leader alone (a leader stops its own children in
    the right order); what is left of its process group afterwards is killed.
    """
    was_alive = ask(record, signal)
    polite = wait(record, timeout_s) if was_alive else True
    if was_alive or record.pid in _children:
        kill_group(record)
        wait(record, KILL_WAIT_S)
    forget(record)
    return polite


def ask(record: ProcessRecord, signal: int = signals.SIGTERM) -> bool:
    """Sends a signal to the process if it is alive, and waits for nothing; whether it was alive."""
    if not is_alive(record):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.pid, signal)
    return True


def kill_group(record: ProcessRecord) -> None:
    """Kills what is left of the process's group, at once."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(record.pid, signals.SIGKILL)


def forget(record: ProcessRecord) -> None:
    """Removes the record's file, unless it tells of another process by now."""
    _children.pop(record.pid, None)
    path = Path(record.file)
    if record.file and (now := _load(path)) and now.pid == record.pid:
        path.unlink(missing_ok=True)


def records(run_dir: Path) -> list[ProcessRecord]:
    """Every record in a folder, by name, whether its process still runs or not; unreadable files are left out."""
    found = (_load(path) for path in sorted(run_dir.glob("*.json")))
    return [record for record in found if record is not None]


def start_time(pid: int) -> str:
    """When the process with this id started, as the system writes it; "" when there is none or only its remains."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        fields = stat.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _start_time_by_ps(pid)
    return "" if fields[0] in "ZX" else fields[19]


def follow_parent(signal: int = signals.SIGTERM) -> Callable[[], None] | None:
    """For ``preexec_fn``: the child gets ``signal`` when the starting thread ends. None where there is no prctl."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(signal), 0, 0, 0)

    return ask


def _start_time_by_ps(pid: int) -> str:
    told = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = told.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()


def _wait_some(pid: int, timeout_s: float) -> None:
    """Sleeps until the process ends or ``timeout_s`` passed; in short steps where there are no process descriptors."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        time.sleep(min(POLL_S, timeout_s))
        return
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        poller.poll(timeout_s * 1000)
    finally:
        os.close(descriptor)
    if child := _children.get(pid):
        child.poll()


def _load(path: Path) -> ProcessRecord | None:
    try:
        data = json.loads(path.read_text())
        record = ProcessRecord(
            data["name"], int(data["pid"]), data["started"], tuple(data["argv"]), data.get("log", "")
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return replace(record, file=str(path))


def _save(path: Path, record: ProcessRecord) -> None:
    data = asdict(record)
    del data["file"]
    fresh = path.with_suffix(f".{os.getpid()}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(data, out)
    fresh.replace(path)
