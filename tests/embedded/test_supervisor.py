"""The supervisor stops trees in order, restarts what crashes, and takes its programs with it when it is killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portal.embedded.logs import bound_logs, tail
from portal.env import BASE_DIR
from portal.lib import processes
from tests.embedded.bulletin import Bulletin

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(folder: Path, bulletin: Bulletin) -> Iterator[Start]:
    running: list[subprocess.Popen[str]] = []

    def go(*programs: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "tests.embedded.supervised", str(folder), str(bulletin.path), *programs]
        running.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=BASE_DIR))
        return running[-1]

    yield go
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_ends_the_whole_tree_in_order(
    start: Start, bulletin: Bulletin, number: int, folder: Path
) -> None:
    supervisor = start("first=POLITE", "second=PARENT", "third=POLITE")
    pids = [bulletin.expect(name, "up") for name in ("first", "second", "child", "third")]
    descriptors = [os.pidfd_open(pid) for pid in pids]
    supervisor.send_signal(number)
    out, _ = supervisor.communicate(timeout=20)
    assert supervisor.returncode == 0
    assert out.endswith("stopped\n")
    assert all(_ended(descriptor) for descriptor in descriptors)
    bulletin.expect("first", "bye")
    bulletin.expect("third", "bye")
    assert processes.records(folder / "run") == []


def test_a_second_signal_does_not_wait_for_the_stubborn(start: Start, bulletin: Bulletin) -> None:
    supervisor = start("stubborn=STUBBORN")
    descriptor = os.pidfd_open(bulletin.expect("stubborn", "up"))
    supervisor.send_signal(signal.SIGINT)
    bulletin.expect("stubborn", "no")  # it was asked and declined; 30 s would be waited for it
    supervisor.send_signal(signal.SIGINT)
    supervisor.communicate(timeout=10)
    assert _ended(descriptor)


def test_what_crashes_starts_again_later_and_later(start: Start, bulletin: Bulletin) -> None:
    supervisor = start("crashing=CRASHING")
    assert len({bulletin.expect("crashing", "up") for _ in range(3)}) == 3
    assert supervisor.stdout is not None
    told = [supervisor.stdout.readline() for _ in range(2)]
    assert "crashing ended (exit 3), starts again in 0.5 s" in told[0]
    assert "starts again in 1 s" in told[1]
    supervisor.send_signal(signal.SIGTERM)
    supervisor.communicate(timeout=10)


def test_a_killed_program_comes_back_and_its_children_do_not_pile_up(start: Start, bulletin: Bulletin) -> None:
    supervisor = start("parent=PARENT")
    first, child = bulletin.expect("parent", "up"), bulletin.expect("child", "up")
    descriptor = os.pidfd_open(child)
    os.kill(first, signal.SIGKILL)
    assert bulletin.expect("parent", "up") != first
    assert _ended(descriptor)
    supervisor.send_signal(signal.SIGTERM)
    supervisor.communicate(timeout=20)


def test_programs_end_with_a_killed_supervisor(start: Start, bulletin: Bulletin) -> None:
    supervisor = start("patient=POLITE")
    descriptor = os.pidfd_open(bulletin.expect("patient", "up"))
    supervisor.kill()
    bulletin.expect("patient", "bye")
    assert _ended(descriptor)


def test_a_log_over_the_bound_is_cut_while_its_writer_goes_on(folder: Path) -> None:
    path = folder / "noisy.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 2000 + b"\n")
        bound_logs(folder, most_bytes=1000)
        assert path.stat().st_size == 0
        assert (folder / "noisy.log.1").stat().st_size == 2001
        writer.write(b"next\n")
    assert tail(path) == "next"


def _ended(descriptor: int) -> bool:
    ready, _, _ = select.select([descriptor], [], [], 15.0)
    os.close(descriptor)
    return bool(ready)
