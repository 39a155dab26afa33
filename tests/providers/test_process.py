"""Endpoints as local processes: started once, ready after their cold start, drained, noticed when they die or hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pools.choices import EndpointState
from pools.providers.base import Probe, ReplicaSpec, demo_spec
from pools.providers.metrics import scrape_all
from pools.providers.process import ProcessProvider
from portal.lib import processes
from portal.lib.errors import DomainError


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[ProcessProvider]:
    made = ProcessProvider(tmp_path / "run", tmp_path / "log", supervisor_pid=os.getpid())
    yield made
    for ref in made.list():
        made.stop(ref)


def wait_for(seen: Callable[[], Probe], state: EndpointState, seconds: float = 20.0) -> Probe:
    """Probe until the state is seen."""
    end = time.monotonic() + seconds
    while (probe := seen()).state is not state:
        assert time.monotonic() < end, probe
        time.sleep(0.02)
    return probe


def record_of(provider: ProcessProvider, ref: str) -> processes.ProcessRecord:
    return next(record for record in processes.records(provider.run_dir) if record.name == ref)


def test_it_starts_once_becomes_ready_after_its_cold_start_serves_and_stops(provider: ProcessProvider) -> None:
    began = time.monotonic()
    ref = provider.start(demo_spec("chat-0", "chat-8b", cold_start_s=1.5))
    pid = record_of(provider, ref).pid
    assert provider.start(demo_spec("chat-0", "chat-8b")) == ref
    assert record_of(provider, ref).pid == pid
    assert provider.list() == ("chat-0",)
    assert provider.probe(ref).state is EndpointState.STARTING
    ready = wait_for(lambda: provider.probe(ref), EndpointState.READY)
    assert time.monotonic() - began > 1.5
    metrics = scrape_all([ready.url], datetime(2026, 1, 1, tzinfo=UTC))[ready.url].metrics
    assert metrics is not None
    assert (metrics.num_gpu_blocks, metrics.block_tokens) == (8192, 16)
    provider.stop(ref)
    provider.stop(ref)
    assert provider.probe(ref).state is EndpointState.STOPPED
    assert provider.list() == ()
    assert list(provider.run_dir.iterdir()) == []


def test_our_secrets_stay_with_us(provider: ProcessProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden")
    monkeypatch.setenv("DATABASE_URL", "hidden")
    ref = provider.start(ReplicaSpec("chat-0", "m"))
    environment = Path(f"/proc/{record_of(provider, ref).pid}/environ").read_bytes()
    assert b"hidden" not in environment


def test_a_stop_lets_the_last_stream_end(provider: ProcessProvider) -> None:
    ref = provider.start(ReplicaSpec("chat-0", "m", itl_base_ms=20.0))
    url = wait_for(lambda: provider.probe(ref), EndpointState.READY).url
    body = {"prompt": "a", "max_tokens": 50, "ignore_eos": True, "stream": True}
    asking = urllib.request.Request(f"{url}/v1/completions", json.dumps(body).encode())
    with urllib.request.urlopen(asking, timeout=10) as stream:
        assert stream.readline().startswith(b"data: ")
        provider.stop(ref)
        rest = stream.read()
    assert rest.endswith(b"data: [DONE]\n\n")


def test_one_that_dies_is_failed_until_it_is_stopped(provider: ProcessProvider) -> None:
    ref = provider.start(ReplicaSpec("chat-0", "m"))
    wait_for(lambda: provider.probe(ref), EndpointState.READY)
    os.kill(record_of(provider, ref).pid, signal.SIGKILL)
    probe = wait_for(lambda: provider.probe(ref), EndpointState.FAILED)
    assert probe.detail == "It ended by itself with status -9."
    provider.stop(ref)
    assert provider.probe(ref).state is EndpointState.STOPPED
    assert provider.start(ReplicaSpec("chat-0", "m")) == ref


def test_a_name_cannot_leave_the_folder(provider: ProcessProvider) -> None:
    for name in ("../x", "a/b", "", "-a", "A"):
        with pytest.raises(DomainError, match="cannot be named"):
            provider.start(ReplicaSpec(name, "m"))
        provider.stop(name)


def test_impossible_numbers_are_told_in_the_log(provider: ProcessProvider) -> None:
    ref = provider.start(ReplicaSpec("chat-0", "m", num_gpu_blocks=0))
    wait_for(lambda: provider.probe(ref), EndpointState.FAILED)
    assert "every count of an engine profile must be 1 or more" in (provider.log_dir / "chat-0.log").read_text()


def test_it_ends_by_itself_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    supervisor = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    provider = ProcessProvider(tmp_path, supervisor_pid=supervisor.pid)
    ref = provider.start(ReplicaSpec("chat-0", "m"))
    try:
        wait_for(lambda: provider.probe(ref), EndpointState.READY)
        supervisor.kill()
        supervisor.wait()
        probe = wait_for(lambda: provider.probe(ref), EndpointState.FAILED)
        assert probe.detail == "It ended by itself with status 0."
    finally:
        supervisor.kill()
        provider.stop(ref)
