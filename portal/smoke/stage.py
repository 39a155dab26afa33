"""A private installation in a folder of its own, and the smoke run as a process inside it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from portal.embedded.private import PrivateStack, private_stack
from portal.embedded.programs import manage

INSIDE = "--inside"


def stage(words: Sequence[str], folder: Path | None, *, keep: bool) -> int:
    """Starts a stack, runs ``manage.py smoke --inside`` with ``words`` in it, stops everything; the exit status.

    ``folder`` None makes one and removes it afterwards, unless ``keep``. DomainError when the stack does not start.
    """
    place = folder or Path(tempfile.mkdtemp(prefix="tp-smoke-"))
    place.mkdir(parents=True, exist_ok=True)
    try:
        with private_stack(place) as stack:
            return _inside(stack, [*words, INSIDE, stack.place.gateway_url])
    finally:
        if folder is None and not keep:
            shutil.rmtree(place, ignore_errors=True)


def _inside(stack: PrivateStack, words: Sequence[str]) -> int:
    child = subprocess.Popen(manage("smoke", *words), env=dict(stack.environ), start_new_session=True)
    told = 0
    interrupts = stack.supervisor.interrupts
    while child.poll() is None:
        interrupts.wait(0.5)
        if interrupts.count > told:
            told = interrupts.count
            child.send_signal(signal.SIGTERM if told == 1 else signal.SIGKILL)
    return child.returncode
