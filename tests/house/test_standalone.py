"""The project stands alone: no lock or source file names a package index or a place of one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLING = re.compile(r"--(index-url|extra-index-url|find-links|trusted-host)\b")


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def test_locks_carry_hashes_and_no_address() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert not TOOLING.search(text)
        pins = re.findall(r"^[a-z0-9][^ ]*==", text, re.MULTILINE)
        assert len(pins) > 50
        assert text.count("--hash=sha256:") >= len(pins)


def test_no_third_party_browser_code_is_committed() -> None:
    for path in tracked():
        if path.suffix in {".js", ".css"}:
            assert path.stat().st_size < 60_000, f"{path.name} looks vendored; take it from an installed package"
            assert not path.name.endswith((".min.js", ".min.css"))


def test_no_absolute_path_of_a_workplace() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:work|home|root|Users)/\w+")
    for path in tracked():
        if path.suffix in {".py", ".md", ".toml", ".html", ".js", ".css", ".yml", ".yaml", ".lua", ""} and path != Path(
            __file__
        ):
            found = pattern.findall(path.read_text(errors="ignore"))
            assert not found, f"{path.relative_to(ROOT)} names {found[0]}"
