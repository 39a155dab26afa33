"""A text file of rows, plain or gzipped, read line by line; an error names the line, what is there and what may be."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from portal.lib.errors import DomainError

LONGEST_LINE = 1_048_576


def open_text(path: Path) -> TextIOWrapper:
    """The file as text, unpacked when its first bytes say gzip. Raises DomainError ``no_trace``."""
    try:
        file = path.open("rb")
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
    except OSError as error:
        raise DomainError("no_trace", f"The trace {path} cannot be read ({error.strerror}). Name a file.") from error
    raw = gzip.GzipFile(fileobj=file, mode="rb") if zipped else file
    return TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def lines_of(path: Path, lines: TextIOWrapper, *, read: int = 0) -> Iterator[str]:
    """Its lines after the ``read`` ones already taken. DomainError ``bad_trace``: no text, no end."""
    number = read
    while True:
        number += 1
        try:
            line = lines.readline(LONGEST_LINE)
        except UnicodeDecodeError:
            raise bad_row(path, number, "bytes that are no UTF-8", "text") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise bad_row(path, number, f"damaged gzip data ({error})", "a whole gzip file") from None
        if not line:
            return
        if len(line) >= LONGEST_LINE:
            raise bad_row(path, number, "a line without an end", f"lines below {LONGEST_LINE} characters")
        yield line


def csv_rows(path: Path, names: Sequence[str], file: TextIOWrapper) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row by column name) of a CSV file whose header has been read already."""
    reader = csv.reader(lines_of(path, file, read=1))
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise bad_row(path, reader.line_num + 1, str(error), "comma-separated values") from None
        if cells is None:
            return
        if not cells or cells == [""]:
            continue
        if len(cells) != len(names):
            raise bad_row(path, reader.line_num + 1, f"{len(cells)} columns", f"{len(names)} ({','.join(names)})")
        yield reader.line_num + 1, dict(zip(names, cells, strict=True))


def json_rows(path: Path, first: str, file: TextIOWrapper) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a file of JSON lines whose first line is given."""
    line, number, rest = first, 1, lines_of(path, file, read=1)
    while line:
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise bad_row(path, number, repr(line.strip()[:80]), "one JSON object a line")
            yield number, row
        line, number = next(rest, ""), number + 1


def bad_row(path: Path, line: int, seen: str, allowed: str) -> DomainError:
    """The error for one row: where, what was seen, what is allowed."""
    return DomainError("bad_trace", f"{path}, line {line}: {seen}; allowed: {allowed}. Correct the row.", line=line)
