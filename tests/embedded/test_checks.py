"""What is checked before anything starts, and the sentence for each."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from portal.embedded import checks
from portal.env import BASE_DIR
from portal.lib.errors import DomainError


def test_an_old_python_is_named_with_what_is_needed() -> None:
    with pytest.raises(DomainError, match=r"This is Python 3\.10\.4; Token Pools needs 3\.11 or newer\."):
        checks.check_python((3, 10, 4))
    checks.check_python()


def test_a_busy_port_is_named_with_its_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(DomainError, match=f"Port {port} of 127.0.0.1 is in use.*set WEB_PORT") as caught:
            checks.check_port("127.0.0.1", port, "WEB_PORT")
    assert caught.value.code == "port_busy"
    checks.check_port("127.0.0.1", port, "WEB_PORT")


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(DomainError, match="BIND_ADDRESS"):
        checks.check_port("192.0.2.1", checks.free_port(), "WEB_PORT")


def test_a_full_disk_is_told_in_megabytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=12_000_000))
    with pytest.raises(DomainError, match="has 12 MB left; 500 MB are needed") as caught:
        checks.check_folder(folder)
    assert caught.value.code == "disk_full"


def test_a_disk_without_one_byte_is_told_the_same_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DomainError, match="has 0 MB left"):
        checks.check_folder(folder)


def test_a_folder_that_cannot_be_written_names_var_dir(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(DomainError, match=r"cannot be written .*VAR_DIR") as caught:
        checks.check_folder(folder / "file" / "var")
    assert caught.value.code == "no_permission"


def test_the_second_of_two_is_told_the_pid_of_the_first(folder: Path) -> None:
    script = "import sys; from pathlib import Path; from portal.embedded.checks import only_one\n" + (
        "try:\n    with only_one(Path(sys.argv[1])): print('got it')\nexcept Exception as error: print(error)"
    )
    argv = [sys.executable, "-c", script, str(folder)]
    with checks.only_one(folder):
        told = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=BASE_DIR).stdout
        assert f"already runs in {folder} as process {os.getpid()}" in told
        assert f"kill {os.getpid()}" in told
    assert subprocess.run(argv, capture_output=True, text=True, check=True, cwd=BASE_DIR).stdout == "got it\n"
