"""Where the private unix sockets of the embedded servers live, and the URLs that lead to them.

A socket's path may be 107 bytes long, no longer: for a deep VAR_DIR they live in a short folder in /tmp whose name
follows from VAR_DIR alone, so that every process finds it without asking.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path
from urllib.parse import quote

from portal.lib.errors import DomainError

DATABASE = "tokenpools"
POSTGRES_SOCKET = 5433  # names the socket file; nothing listens on the network
VALKEY_SOCKET = "valkey.sock"
LONGEST_FOLDER = 85
FOLDER = "sockets"
SHORT = Path("/tmp")  # noqa: S108  TMPDIR may be long itself; make_socket_folder checks whose the folder is
NOBODY = 65534


def socket_folder(var_dir: Path) -> Path:
    """The folder of the sockets of ``var_dir``, whether it exists or not; a pure function of the path and the user."""
    folder = var_dir.resolve() / FOLDER
    path = os.fsencode(folder)
    if len(path) <= LONGEST_FOLDER:
        return folder
    return SHORT / f"tp-{os.geteuid()}-{hashlib.sha256(path).hexdigest()[:16]}"


def make_socket_folder(var_dir: Path) -> Path:
    """Makes that folder (mode 700) and returns it; where it is a short one elsewhere, ``var_dir/sockets`` links to it.

    Raises DomainError ``foreign_folder`` when somebody else made the short folder: /tmp belongs to everybody.
    """
    var_dir.mkdir(parents=True, exist_ok=True)
    folder, link = socket_folder(var_dir), var_dir.resolve() / FOLDER
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    seen = folder.lstat()
    owners = {os.geteuid()} if os.geteuid() else {0, NOBODY}  # root may have given it to PostgreSQL's user
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid not in owners or seen.st_mode & 0o022:
        raise DomainError("foreign_folder", f"{folder} is not a folder of yours alone. Remove it or shorten VAR_DIR.")
    if folder != link and not link.is_symlink():
        link.symlink_to(folder)
    return folder


def remove_socket_folder(var_dir: Path) -> None:
    """Removes a short folder made elsewhere, with its link; leaves one inside ``var_dir`` alone."""
    folder, link = socket_folder(var_dir), var_dir.resolve() / FOLDER
    if folder == link:
        return
    link.unlink(missing_ok=True)
    if folder.is_dir():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def postgres_url(sockets: Path, database: str = DATABASE) -> str:
    """The URL of a database of the PostgreSQL whose socket is in a folder."""
    return f"postgresql://postgres@/{database}?host={quote(str(sockets), safe='/')}&port={POSTGRES_SOCKET}"


def valkey_url(sockets: Path) -> str:
    """The URL of the Valkey whose socket is in a folder."""
    return f"unix://{sockets / VALKEY_SOCKET}?db=0"
