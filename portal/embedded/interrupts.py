"""Signals as something to ask and to wait for: the first asks to stop, the second to stop at once."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Raised out of work in progress when a stop is asked for (a BaseException: no handler of ours may swallow it)."""


class Interrupts:
    """A context in the main thread that counts stop signals and wakes :meth:`wait` for them and for ended children.

    Not entered, it touches no signal: nothing is ever asked and :meth:`wait` only sleeps.
    """

    def __init__(self) -> None:
        self.count = 0
        self.raising = True
        self._old: dict[int, Any] = {}
        self._read = self._write = -1

    def __enter__(self) -> Interrupts:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        for number in STOPPING:
            self._old[number] = signal.signal(number, self._on_stop)
        self._old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, self._on_child)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self.count > 0

    @property
    def forced(self) -> bool:
        """Whether it was asked for again."""
        return self.count > 1

    def wait(self, timeout_s: float) -> None:
        """Sleeps until a signal arrives, a child ends or the time is up."""
        if self._read < 0:
            time.sleep(max(0.0, timeout_s))
            return
        select.select([self._read], [], [], max(0.0, timeout_s))
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 512):
                pass

    def defer(self) -> None:
        """From now on a stop is only counted; raises Stopped if one was asked for before."""
        self.raising = False
        if self.asked:
            raise Stopped

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes the reader anyway
            os.write(self._write, b"x")

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self._wake()
        if self.raising:
            self.raising = False
            raise Stopped

    def _on_child(self, number: int, frame: FrameType | None) -> None:
        self._wake()
