"""Keeps a handful of programs running: starts them, restarts what ends unasked, stops them in order.

Each program is the leader of a session of its own, so a Ctrl-C in the terminal reaches the supervisor alone and it
decides the order of the end. Programs die with the supervisor (Linux) however it ends.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from portal.embedded.interrupts import Interrupts
from portal.embedded.logs import bound_logs
from portal.lib import processes

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
STEADY_S = 60.0
WATCH_S = 1.0


@dataclass(frozen=True, slots=True)
class Program:
    """One program to keep running. Those of the lowest ``stop_first`` number are stopped first, together."""

    name: str
    argv: tuple[str, ...]
    stop_first: int = 1
    stop_timeout_s: float = 4.0


@dataclass(slots=True)
class Running:
    """A program and what became of it: ``due_at`` is when to start it again (monotonic s) while it does not run."""

    program: Program
    record: processes.ProcessRecord | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S


class Supervisor:
    """Owns the processes of ``programs``; their records are kept in ``run_dir``, their output in ``log_dir``.

    ``say`` receives one sentence whenever something ends or starts unasked. Use from the main thread only.
    """

    def __init__(
        self,
        run_dir: Path,
        log_dir: Path,
        env: Mapping[str, str],
        interrupts: Interrupts,
        say: Callable[[str], None],
        cwd: Path,
    ) -> None:
        self.run_dir, self.log_dir, self.cwd = run_dir, log_dir, cwd
        self.env, self.interrupts, self.say = env, interrupts, say
        self.running: dict[str, Running] = {}

    def start(self, programs: Sequence[Program]) -> None:
        """Starts programs beside those that run already."""
        for program in programs:
            self.running[program.name] = Running(program)
            self._launch(self.running[program.name])

    def watch(self, also: Callable[[], None] = lambda: None) -> None:
        """Returns when a stop is asked for. Until then, once a second and whenever a child ends: restart, bound logs.

        ``also`` is called as often, for what else has to be kept running.
        """
        while not self.interrupts.asked:
            self.check()
            also()
            bound_logs(self.log_dir)
            self.interrupts.wait(WATCH_S)

    def check(self) -> None:
        """One look at every program: notes what ended, starts what is due."""
        for item in self.running.values():
            if item.record is None:
                if time.monotonic() >= item.due_at:
                    self._launch(item)
            elif not processes.is_alive(item.record):
                self._ended(item)

    def stop(self) -> None:
        """Stops everything, group by group; what is late, and everything on a second stop signal, is killed."""
        for order in sorted({item.program.stop_first for item in self.running.values()}):
            group = [item for item in self.running.values() if item.program.stop_first == order and item.record]
            limit = max((item.program.stop_timeout_s for item in group), default=0.0)
            stop_together([item.record for item in group if item.record], limit, self.interrupts)
            for item in group:
                item.record = None
        self.running.clear()

    def _launch(self, item: Running) -> None:
        program = item.program
        item.record = processes.spawn(
            program.name,
            program.argv,
            self.run_dir,
            env=self.env,
            log=self.log_dir / f"{program.name}.log",
            cwd=self.cwd,
            preexec=processes.follow_parent(),
        )
        item.started_at = time.monotonic()

    def _ended(self, item: Running) -> None:
        assert item.record is not None
        code, lived_s = processes.exit_code(item.record), time.monotonic() - item.started_at
        processes.kill_group(item.record)
        processes.forget(item.record)
        item.record = None
        item.backoff_s = FIRST_BACKOFF_S if lived_s > STEADY_S else item.backoff_s
        item.due_at = time.monotonic() + item.backoff_s
        log = self.log_dir / f"{item.program.name}.log"
        self.say(f"{item.program.name} ended ({ending(code)}), starts again in {item.backoff_s:g} s; see {log}")
        item.backoff_s = min(item.backoff_s * 2, LONGEST_BACKOFF_S)


def stop_together(records: Sequence[processes.ProcessRecord], timeout_s: float, interrupts: Interrupts) -> None:
    """Asks all to end at once, waits for the last, kills what is left; a forced stop does not wait."""
    for record in records:
        processes.ask(record, signal.SIGTERM)
    end = time.monotonic() + timeout_s
    while any(processes.is_alive(record) for record in records):
        left = end - time.monotonic()
        if left <= 0 or interrupts.forced:
            break
        interrupts.wait(min(left, 0.1))
    for record in records:
        processes.stop(record, 0.0, signal.SIGKILL)


def ending(code: int | None) -> str:
    """An exit code in words."""
    if code is None:
        return "unknown"
    return f"exit {code}" if code >= 0 else signal.Signals(-code).name
