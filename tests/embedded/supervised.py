"""A supervisor in a process of its own: ``python -m tests.embedded.supervised FOLDER POST NAME=SOURCE…``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from portal.embedded.interrupts import Interrupts, Stopped
from portal.embedded.supervisor import Program, Supervisor
from portal.env import BASE_DIR
from tests.embedded import bulletin

LIMITS_S = {"STUBBORN": 30.0}


def main(folder: Path, post: str, wanted: list[str]) -> None:
    """Programs stop in the order they are given; ``say`` and the end go to standard output."""
    programs = []
    for order, item in enumerate(wanted):
        name, _, kind = item.partition("=")
        more = (bulletin.STUBBORN,) if kind == "PARENT" else ()
        argv = (sys.executable, "-S", "-c", getattr(bulletin, kind), post, name, *more)
        programs.append(Program(name, argv, stop_first=order, stop_timeout_s=LIMITS_S.get(kind, 5.0)))
    with Interrupts() as interrupts:
        supervisor = Supervisor(folder / "run", folder / "log", os.environ, interrupts, _say, BASE_DIR)
        try:
            supervisor.start(programs)
            interrupts.defer()
            supervisor.watch()
        except Stopped:
            pass
        finally:
            interrupts.raising = False
            supervisor.stop()
    _say("stopped")


def _say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
