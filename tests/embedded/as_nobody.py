"""Runs a Python snippet as user 65534, where this machine lets a test do so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from portal.env import BASE_DIR

NOBODY = 65534


def run_as_nobody(script: str, home: Path, *argv: str) -> str:
    """The snippet's output. Skips where we are not root or no interpreter can be entered by everybody."""
    if os.geteuid() != 0:
        pytest.skip("the tests run as an ordinary user already")
    python = _open_python()
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    os.chown(home, NOBODY, NOBODY)
    done = subprocess.run(
        [python, "-c", script, *argv],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd=home,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{BASE_DIR}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _open_python() -> str:
    """An interpreter of our version outside every private folder."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, *(f"{folder}/{name}" for folder in ("/usr/local/bin", "/usr/bin"))):
        if (found := shutil.which(candidate)) and _runs(found):
            return found
    pytest.skip(f"no {name} on this machine may be run by everybody")


def _runs(python: str) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", ""], user=NOBODY, group=NOBODY, cwd="/", stderr=subprocess.DEVNULL, check=False
        )
    except PermissionError:
        return False
    return done.returncode == 0
