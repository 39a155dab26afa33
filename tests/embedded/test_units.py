"""The systemd units start what ``up`` starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from portal.embedded.programs import place_of, programs
from portal.env import BASE_DIR, BY_NAME

UNITS = BASE_DIR / "deploy" / "systemd"
PLACE = place_of({"VAR_DIR": "/nowhere"})


@pytest.mark.parametrize("program", programs(PLACE), ids=lambda program: program.name)
def test_a_unit_starts_the_same_program(program: object) -> None:
    name, argv = program.name, program.argv  # type: ignore[attr-defined]
    text = (UNITS / f"token-pools-{name}.service").read_text()
    command = re.search(r"^ExecStart=\S+ -m (.*)$", text, re.MULTILINE)
    assert command is not None
    values = {"BIND_ADDRESS": PLACE.address, "WEB_PORT": PLACE.web_port, "WORKER_CONCURRENCY": PLACE.concurrency}
    seen = re.sub(r"\$\{(\w+)\}", lambda found: str(values[found[1]]), command[1])
    ours = " ".join(argv[2:]).replace("graceful-shutdown 2", "graceful-shutdown 10").replace("--pidfile ", "--pidfile=")
    assert seen.split() == ours.split()
    assert f"token-pools-{name}.service" in (UNITS / "token-pools.target").read_text()


def test_the_example_environment_names_real_settings() -> None:
    lines = (UNITS / "environment.example").read_text().splitlines()
    names = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    assert names <= set(BY_NAME)
    assert {"BIND_ADDRESS", "WEB_PORT", "WORKER_CONCURRENCY", "SECRET_KEY"} <= names


def test_the_guide_is_linked_from_the_settings() -> None:
    assert Path(BASE_DIR / "docs" / "deploy.md").exists()
    assert "(deploy.md)" in (BASE_DIR / "docs" / "settings.md").read_text()
