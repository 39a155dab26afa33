"""Bounded log files: our programs append to plain files, which would fill the disk of somebody who lets them run."""

from __future__ import annotations

from pathlib import Path

MOST_BYTES = 8_000_000
TAIL_BYTES = 2_000


def bound_logs(folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Cuts every ``*.log`` over ``most_bytes``: its contents move to ``.log.1``, the open file shrinks to nothing.

    Writers have it open for appending and go on at its new end; what they write between the copy and the cut is lost.
    """
    for path in folder.rglob("*.log"):
        try:
            if path.stat().st_size > most_bytes:
                path.with_suffix(".log.1").write_bytes(path.read_bytes())
                with path.open("r+b") as file:
                    file.truncate()
        except OSError:
            continue  # removed meanwhile, or the disk is full: the next look tries again


def tail(path: Path, lines: int = 8) -> str:
    """The last lines of a log, for a message about what went wrong."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])
