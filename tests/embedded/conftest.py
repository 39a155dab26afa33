"""Short private folders (socket paths are bounded) and the bulletin board."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.bulletin import Bulletin


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="tp-e-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def bulletin(folder: Path) -> Iterator[Bulletin]:
    board = Bulletin(folder / "post")
    yield board
    board.post.close()
