"""A wrong setting stops the start with one sentence; defaults lead to the embedded servers; the guide is complete."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from portal import env
from portal.lib.errors import DomainError


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("WEB_PORT", "80x", r"WEB_PORT is '80x'; it must be a whole number\."),
        ("WEB_PORT", "70000", r"WEB_PORT is '70000'; it must be 1 to 65535\."),
        ("DEBUG", "maybe", r"DEBUG is 'maybe'; it must be 1, true, yes, on, 0, false, no or off\."),
        ("MECHANISM_MODE", "loose", r"MECHANISM_MODE is 'loose'; it must be strict or paper\."),
        ("LOG_LEVEL", "chatty", r"LOG_LEVEL is 'chatty'; it must be DEBUG or INFO or WARNING or ERROR\."),
    ],
)
def test_a_wrong_value_names_key_value_and_what_is_allowed(name: str, text: str, sentence: str) -> None:
    with pytest.raises(DomainError, match=sentence) as caught:
        env.read_all({name: text})
    assert caught.value.code == "bad_setting"


def test_a_wrong_url_is_named_without_showing_its_password() -> None:
    with pytest.raises(DomainError, match=r"DATABASE_URL is .hidden.; it must be a postgresql:// URL") as caught:
        env.database_url({"DATABASE_URL": "mysql://me:secret@host/x"})
    assert "secret" not in str(caught.value)
    with pytest.raises(DomainError, match=r"REDIS_URL is .hidden."):
        env.redis_url({"REDIS_URL": "http://x"})


def test_the_command_line_says_it_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, str(env.BASE_DIR / "manage.py"), "check"],
        env={**os.environ, "WEB_PORT": "zero", "DJANGO_SETTINGS_MODULE": "portal.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "WEB_PORT is 'zero'; it must be a whole number." in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_without_urls_the_embedded_servers_are_meant(folder: Path) -> None:
    environ = {"VAR_DIR": str(folder)}
    assert env.database_url(environ) == f"postgresql://postgres@/tokenpools?host={folder}/sockets&port=5433"
    assert env.redis_url(environ) == f"unix://{folder}/sockets/valkey.sock?db=0"
    assert env.broker_url(environ) == f"redis+socket://{folder}/sockets/valkey.sock?virtual_host=0"


def test_given_urls_are_taken_as_they_are() -> None:
    environ = {"DATABASE_URL": "postgresql://a:b@db/x", "REDIS_URL": "rediss://cache:6380/2"}
    assert env.database_url(environ) == environ["DATABASE_URL"]
    assert env.redis_url(environ) == env.broker_url(environ) == environ["REDIS_URL"]


def test_one_secret_key_is_made_and_kept_private(folder: Path) -> None:
    environ = {"VAR_DIR": str(folder / "var")}
    first = env.secret_key(environ)
    assert len(first) >= 50
    assert env.secret_key(environ) == first
    assert stat.S_IMODE((folder / "var" / "secret_key").stat().st_mode) == 0o600
    assert sorted(path.name for path in (folder / "var").iterdir()) == ["secret_key"]
    assert env.secret_key({**environ, "SECRET_KEY": "given"}) == "given"


def test_a_secret_key_that_cannot_be_kept_names_both_ways_out(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(DomainError, match="Set SECRET_KEY or correct VAR_DIR"):
        env.secret_key({"VAR_DIR": str(folder / "file")})


def test_the_guide_lists_every_setting_with_its_default_and_meaning() -> None:
    text = (env.BASE_DIR / "docs" / "settings.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    assert rows == [(s.name, *env.described(s)) for s in env.SETTINGS], (
        "docs/settings.md tells something else than portal/env.py"
    )
