"""Celery's programs as processes, and waiting for what they do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from portal.env import BASE_DIR
from tests.portal_cast import children_end


@pytest.fixture
def celery(process_environment: dict[str, str], valkey: redis.Redis, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts celery programs; stops them, and the endpoints they started, at the end."""
    environment = {**process_environment, "VAR_DIR": str(tmp_path), "TP_SUPERVISOR_PID": str(os.getpid())}
    running: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        log = (tmp_path / f"{words[0]}.log").open("ab")
        argv = [sys.executable, "-m", "celery", "--app", "portal", *words, "--loglevel", "WARNING"]
        process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, cwd=BASE_DIR)
        running.append(process)
        return process

    yield start
    children_end(running)
    for path in (tmp_path / "run" / "endpoints").glob("*.json"):
        os.kill(json.loads(path.read_text())["pid"], signal.SIGKILL)


def until(seen: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true answer; polls, since another process does the work."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = seen()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s")
