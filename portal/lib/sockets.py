"""Where the private unix sockets of the embedded servers live, and the URLs that lead to them.

A socket's path may be 107 bytes long, no longer: for a deep VAR_DIR they live in a short folder in /tmp, with a link.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from urllib.parse import quote

DATABASE = "tokenpools"
POSTGRES_SOCKET = 5433  # names the socket file; nothing listens on the network
VALKEY_SOCKET = "valkey.sock"
LONGEST_FOLDER = 85
LINK = "sockets"


def socket_folder(var_dir: Path) -> Path:
    """The folder of the sockets of ``var_dir``, whether it exists or not; asks the disk, changes nothing."""
    link = _link(var_dir)
    if link.is_symlink():
        return link.readlink()
    return link


def make_socket_folder(var_dir: Path) -> Path:
    """Makes that folder (mode 700) and returns it: inside ``var_dir``, or a short one elsewhere with a link to it."""
    link = _link(var_dir)
    link.parent.mkdir(parents=True, exist_ok=True)
    if len(os.fsencode(link)) <= LONGEST_FOLDER:
        if link.is_symlink():
            link.unlink()
        link.mkdir(mode=0o700, exist_ok=True)
        return link
    if link.is_symlink():
        if _is_ours(link.readlink()):
            return link.readlink()
        link.unlink()
    short = Path(tempfile.mkdtemp(prefix="tp-", dir="/tmp"))  # a long TMPDIR would not help
    link.symlink_to(short)
    return short


def remove_socket_folder(var_dir: Path) -> None:
    """Removes a short folder made elsewhere, with its link; leaves one inside ``var_dir`` alone."""
    link = _link(var_dir)
    if not link.is_symlink():
        return
    folder = link.readlink()
    if _is_ours(folder):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    link.unlink()


def postgres_url(sockets: Path, database: str = DATABASE) -> str:
    """The URL of a database of the PostgreSQL whose socket is in a folder."""
    return f"postgresql://postgres@/{database}?host={quote(str(sockets), safe='/')}&port={POSTGRES_SOCKET}"


def valkey_url(sockets: Path) -> str:
    """The URL of the Valkey whose socket is in a folder."""
    return f"unix://{sockets / VALKEY_SOCKET}?db=0"


def _link(var_dir: Path) -> Path:
    return var_dir.resolve() / LINK


def _is_ours(folder: Path) -> bool:
    """A real folder of this user that nobody else may enter: /tmp belongs to everybody."""
    try:
        seen = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid() and not seen.st_mode & 0o077
