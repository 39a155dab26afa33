"""``VAR_DIR/demo.env``: where everything is and who may sign in; readable by its owner alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

NAME = "demo.env"


def read_demo_env(var_dir: Path) -> dict[str, str]:
    """The file's NAME=value lines in order; {} where there is none."""
    try:
        lines = (var_dir / NAME).read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def write_demo_env(var_dir: Path, values: Mapping[str, str]) -> None:
    """Adds or replaces values, keeps the others; the file appears whole, with mode 600."""
    merged = {**values, **{name: text for name, text in read_demo_env(var_dir).items() if name not in values}}
    fresh = var_dir / f".{NAME}.{os.getpid()}"
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.writelines(f"{name}={value}\n" for name, value in merged.items())
    fresh.replace(var_dir / NAME)
