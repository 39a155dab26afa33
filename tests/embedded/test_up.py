"""``manage.py up`` from an empty folder: serves, refuses a second, heals, stops everything, starts again quickly."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portal.embedded.checks import free_port
from portal.embedded.demo_env import read_demo_env
from portal.embedded.private import OWN
from portal.embedded.ready import says_ready, wait_ready
from portal.env import BASE_DIR
from portal.lib import processes
from tests.embedded.bulletin import POLITE, Bulletin

pytestmark = pytest.mark.slow
Up = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def environ(folder: Path) -> dict[str, str]:
    base = {name: value for name, value in os.environ.items() if name not in OWN}
    ports = {"WEB_PORT": str(free_port()), "GATEWAY_PORT": str(free_port())}
    return {**base, **ports, "VAR_DIR": str(folder / "var"), "DEMO": "0"}


@pytest.fixture
def up(environ: dict[str, str]) -> Iterator[Up]:
    running: list[subprocess.Popen[str]] = []

    def go() -> subprocess.Popen[str]:
        argv = [sys.executable, str(BASE_DIR / "manage.py"), "up"]
        running.append(subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return running[-1]

    yield go
    for process in running:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def until(process: subprocess.Popen[str], *words: str) -> str:
    """What it prints until all these words were said, in any order; fails with all of it when it ends before."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if all(word in said for word in words):
            return said
    pytest.fail(f"ended with {process.wait()} before it said {words!r}:\n{said}")


def test_up_serves_heals_stops_and_starts_again_quickly(
    up: Up, environ: dict[str, str], folder: Path, bulletin: Bulletin
) -> None:
    var = folder / "var"
    first = up()
    said = until(first, "serves after")
    assert "PostgreSQL" in said and "Valkey" in said and "Tables" in said
    values = read_demo_env(var)
    assert values["WEB_URL"] == f"http://127.0.0.1:{environ['WEB_PORT']}"
    assert stat.S_IMODE((var / "demo.env").stat().st_mode) == 0o600
    assert says_ready(values["WEB_URL"]) and says_ready(values["GATEWAY_URL"])

    second = up()
    out, _ = second.communicate(timeout=30)
    assert second.returncode != 0
    assert f"already runs in {var} as process {first.pid}" in out
    assert "Traceback" not in out

    started = {record.name: record for record in processes.records(var / "run")}
    assert set(started) == {"postgres", "valkey", "web", "gateway", "worker", "beat"}
    for name in ("postgres", "valkey", "web"):
        os.kill(started[name].pid, signal.SIGKILL)
    again = "had ended and runs again"
    until(first, f"Postgres {again}", f"Valkey {again}", "web ended (SIGKILL), starts again in 0.5 s")
    assert wait_ready([values["WEB_URL"], values["GATEWAY_URL"]], 60.0) == []

    started = {record.name: record for record in processes.records(var / "run")}
    endpoint = processes.spawn("endpoint-1", bulletin.program("endpoint", POLITE), var / "run" / "endpoints")
    bulletin.expect("endpoint", "up")
    first.send_signal(signal.SIGTERM)
    out, _ = first.communicate(timeout=20)
    assert first.returncode == 0
    assert "Stopped after" in out
    assert bulletin.expect("endpoint", "bye") == endpoint.pid
    assert not any(processes.is_alive(record) for record in (*started.values(), endpoint))

    third = up()
    said = until(third, "serves after")
    assert "Tables" not in said and "Static files" not in said
    seconds = re.search(r"serves after ([\d.]+) s", said)
    assert seconds is not None and float(seconds[1]) < 10
    third.kill()
    for record in processes.records(var / "run"):
        assert processes.wait(record, 15.0), f"{record.name} outlived a killed supervisor"


def test_a_busy_port_is_one_sentence_and_what_an_earlier_run_left_is_gone(
    up: Up, environ: dict[str, str], folder: Path, bulletin: Bulletin
) -> None:
    orphan = processes.spawn("endpoint-9", bulletin.program("orphan", POLITE), folder / "var" / "run" / "endpoints")
    bulletin.expect("orphan", "up")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        environ["GATEWAY_PORT"] = str(taken.getsockname()[1])
        process = up()
        out, _ = process.communicate(timeout=30)
    assert process.returncode != 0
    assert f"Port {environ['GATEWAY_PORT']} of 127.0.0.1 is in use" in out
    assert "set GATEWAY_PORT to a free port" in out
    assert "Traceback" not in out
    assert bulletin.expect("orphan", "bye") == orphan.pid
    assert processes.records(folder / "var" / "run") == []


def test_a_database_that_does_not_answer_is_named(up: Up, environ: dict[str, str], folder: Path) -> None:
    environ["DATABASE_URL"] = f"postgresql://nobody@/x?host={folder}"
    process = up()
    out, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "PostgreSQL does not answer" in out and "Correct DATABASE_URL" in out
    assert "Traceback" not in out
