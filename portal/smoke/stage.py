"""A private installation in a folder of its own, and the smoke run as a process inside it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from portal.embedded.interrupts import Interrupts, Stopped
from portal.embedded.private import PrivateStack, private_stack
from portal.embedded.programs import manage
from portal.lib.errors import DomainError

INSIDE = "--inside"
STOPPED = 130


def stage(words: Sequence[str], folder: Path | None, *, keep: bool) -> int:
    """Starts a stack, runs ``manage.py smoke --inside`` with ``words`` in it, stops everything; the exit status.

    ``folder`` None makes one and removes it afterwards, unless ``keep``. DomainError when the stack does not start or
    the folder is not empty. A stop signal ends the sending and still gives the audit; a second one ends all.
    """
    place = folder or Path(tempfile.mkdtemp(prefix="tp-smoke-"))
    if place.exists() and any(place.iterdir()):
        raise DomainError("not_empty", f"{place} is not empty; a smoke run begins with nothing. Name another folder.")
    place.mkdir(parents=True, exist_ok=True)
    try:
        with Interrupts() as interrupts, private_stack(place) as stack:
            interrupts.defer()
            return _inside(stack, [*words, INSIDE, stack.place.gateway_url], interrupts)
    except Stopped:
        return STOPPED
    finally:
        if folder is None and not keep:
            shutil.rmtree(place, ignore_errors=True)


def _inside(stack: PrivateStack, words: Sequence[str], interrupts: Interrupts) -> int:
    child = subprocess.Popen(manage("smoke", *words), env=dict(stack.environ), start_new_session=True)
    told = 0
    while child.poll() is None:
        interrupts.wait(0.5)
        if interrupts.count > told:
            told = interrupts.count
            child.send_signal(signal.SIGTERM if told == 1 else signal.SIGKILL)
    return child.returncode
