"""Every benchmark can be run by its path, as the README and ``make bench`` do, and takes --quick and --json."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for path in (ROOT / "benchmarks").glob("[a-z]*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_runs_by_its_path(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(path), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout and "--json" in done.stdout
