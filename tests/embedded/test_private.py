"""A private installation: own folder, own ports, every process, gone at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.embedded.private import private_stack
from portal.embedded.ready import says_ready
from portal.lib import processes


@pytest.mark.slow
def test_a_private_stack_serves_runs_commands_and_leaves_nothing(folder: Path) -> None:
    var = folder / "var"
    with private_stack(var) as stack:
        assert says_ready(stack.place.web_url) and says_ready(stack.place.gateway_url)
        assert stack.environ["VAR_DIR"] == str(var)
        assert "No planned migration operations" in stack.run("migrate", "--plan")
        started = [*processes.records(var / "run")]
        assert {record.name for record in started} == {"postgres", "valkey", "web", "gateway", "worker", "beat"}
    assert not any(processes.is_alive(record) for record in started)
    assert processes.records(var / "run") == []
