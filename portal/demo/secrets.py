"""Keys and passwords of the demo: random per installation, kept in two files only their owner may read."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from portal.embedded.demo_env import read_demo_env, write_demo_env

KEY_FILE = "traffic.keys.json"


def key_file(var_dir: Path) -> Path:
    """Where the keys of all demo tenants are."""
    return var_dir / KEY_FILE


def new_password() -> str:
    """A password nobody has to type twice: 96 bits."""
    return secrets.token_urlsafe(12)


def known(var_dir: Path) -> dict[str, str]:
    """What demo.env says at present."""
    return read_demo_env(var_dir)


def keep(var_dir: Path, values: Mapping[str, str]) -> None:
    """Adds lines to demo.env (mode 600)."""
    write_demo_env(var_dir, values)
