"""Processes are remembered by id and start time, and stopped for sure."""

from __future__ import annotations

import os
import signal
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from portal.lib import processes
from portal.lib.errors import DomainError
from tests.embedded.bulletin import CRASHING, PARENT, PATIENT, POLITE, STUBBORN, Bulletin


def gone(pid: int) -> bool:
    return processes.start_time(pid) == ""


def test_a_spawned_process_is_recorded_alive_and_leads_its_own_session(folder: Path, bulletin: Bulletin) -> None:
    record = processes.spawn("one", bulletin.program("one", PATIENT), folder / "run", log=folder / "log" / "one.log")
    assert bulletin.expect("one", "up") == record.pid
    assert os.getsid(record.pid) == record.pid
    assert processes.is_alive(record)
    assert processes.records(folder / "run") == [record]
    assert stat.S_IMODE((folder / "run" / "one.json").stat().st_mode) == 0o600
    processes.stop(record)
    assert not processes.is_alive(record)
    assert processes.records(folder / "run") == []


def test_stop_asks_first_and_tells_that_it_was_heard(folder: Path, bulletin: Bulletin) -> None:
    record = processes.spawn("polite", bulletin.program("polite", POLITE), folder / "run")
    bulletin.expect("polite", "up")
    assert processes.stop(record, 10.0) is True
    assert bulletin.expect("polite", "bye") == record.pid


def test_stop_kills_what_does_not_listen(folder: Path, bulletin: Bulletin) -> None:
    record = processes.spawn("stubborn", bulletin.program("stubborn", STUBBORN), folder / "run")
    bulletin.expect("stubborn", "up")
    assert processes.stop(record, 0.2) is False
    assert gone(record.pid)


def test_stop_also_ends_the_children_a_leader_forgot(folder: Path, bulletin: Bulletin) -> None:
    record = processes.spawn("leader", bulletin.program("leader", PARENT, STUBBORN), folder / "run")
    bulletin.expect("leader", "up")
    child = bulletin.expect("child", "up")
    descriptor = os.pidfd_open(child)
    processes.stop(record, 10.0)
    assert _ends(descriptor)


def test_an_id_given_to_somebody_else_is_never_signalled(folder: Path, bulletin: Bulletin) -> None:
    stranger = processes.spawn("stranger", bulletin.program("stranger", PATIENT), folder / "run")
    bulletin.expect("stranger", "up")
    ours = replace(stranger, name="ours", started="1", file="")
    processes._children.pop(stranger.pid).returncode = 0  # as seen by another process than its parent
    try:
        assert not processes.is_alive(ours)
        processes.stop(ours, 1.0)
        assert processes.start_time(stranger.pid) == stranger.started
    finally:
        os.kill(stranger.pid, signal.SIGKILL)
        os.waitpid(stranger.pid, 0)


def test_an_ended_process_tells_its_exit_code_and_may_be_started_again(folder: Path, bulletin: Bulletin) -> None:
    argv = bulletin.program("short", CRASHING)
    record = processes.spawn("short", argv, folder / "run")
    assert processes.wait(record, 10.0)
    assert processes.exit_code(record) == 3
    again = processes.spawn("short", argv, folder / "run")
    assert again.pid != record.pid
    processes.stop(again)


def test_a_second_process_of_that_name_is_refused_naming_the_first(folder: Path, bulletin: Bulletin) -> None:
    record = processes.spawn("one", bulletin.program("one", PATIENT), folder / "run")
    bulletin.expect("one", "up")
    with pytest.raises(DomainError, match=f"one already runs as process {record.pid}"):
        processes.spawn("one", bulletin.program("one", PATIENT), folder / "run")
    processes.stop(record, 1.0)


def test_a_program_that_is_not_there_is_one_sentence(folder: Path) -> None:
    with pytest.raises(DomainError, match=r"ghost could not be started .*No such file") as caught:
        processes.spawn("ghost", [str(folder / "nothing")], folder / "run")
    assert caught.value.code == "cannot_start"


def test_a_broken_record_is_no_record(folder: Path) -> None:
    (folder / "broken.json").write_text("{")
    (folder / "foreign.json").write_text('{"name": "x"}')
    assert processes.records(folder) == []


def _ends(descriptor: int) -> bool:
    import select

    ready, _, _ = select.select([descriptor], [], [], 10.0)
    os.close(descriptor)
    return bool(ready)
