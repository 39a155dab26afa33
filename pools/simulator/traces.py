"""Read recorded workloads row by row: Azure CSV, ServeGen CSV and Mooncake JSONL, plain or gzipped.

The format is told by the first line, never by the file's name; compression by the first two bytes. Nothing but the
present row is held in memory. Times come out in seconds since the first row, so every trace begins at 0.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from pools.simulator.trace_rows import bad_row, csv_rows, json_rows, lines_of, open_text
from portal.lib.errors import DomainError

LARGEST_TOKENS = 10_000_000
SLACK_S = 1.0  # recorders with several writers swap neighbouring rows; more than this is another order altogether


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One recorded request: seconds since the first, who sent it ("" where unknown), sizes in tokens.

    ``prefix`` names the blocks of its prompt (Mooncake's hash_ids): equal beginnings mean equal text.
    """

    at_s: float
    client: str
    input_tokens: int
    output_tokens: int
    prefix: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """A kind of file: ``columns`` that its first line must name and how one row becomes a request."""

    name: str
    columns: tuple[str, ...]
    jsonl: bool
    parse: Callable[[dict[str, Any]], TraceRequest]


class _ValueError(ValueError):
    """column, value seen, what is allowed"""


def read_trace(path: Path) -> Iterator[TraceRequest]:
    """The requests of a trace in order of time, as they are read.

    Raises DomainError: ``no_trace`` (not a readable file), ``unknown_trace`` (no known first line), ``bad_trace`` (a
    row that is not what its column says, naming line, value and what is allowed; a damaged gzip file).
    """
    return _ordered(path, _requests(path))


def trace_format(path: Path) -> str:
    """ "azure", "servegen" or "mooncake". Raises DomainError as :func:`read_trace` does."""
    with open_text(path) as lines:
        return _recognise(path, _first_line(path, lines))[0].name


def _first_line(path: Path, lines: TextIOWrapper) -> str:
    first = next(lines_of(path, lines), "")
    if not first.strip():
        raise DomainError("unknown_trace", f"The trace {path} begins with an empty line. {_known()}")
    return first


def _recognise(path: Path, first: str) -> tuple[TraceFormat, list[str]]:
    if first.lstrip().startswith("{"):
        try:
            names = list(json.loads(first))
        except (ValueError, RecursionError):
            names = []
        jsonl = True
    else:
        names, jsonl = [name.strip() for name in next(csv.reader([first]))], False
    for kind in FORMATS:
        if kind.jsonl == jsonl and {name.lower() for name in kind.columns} <= {name.lower() for name in names}:
            by_lower = {name.lower(): name for name in kind.columns}
            return kind, [by_lower.get(name.lower(), name) for name in names]
    raise DomainError("unknown_trace", f"The first line of {path} is {first.strip()[:80]!r}. {_known()}")


def _known() -> str:
    return "Known traces begin with " + " or ".join(
        ("JSON lines with " if kind.jsonl else "the header ") + ",".join(kind.columns) for kind in FORMATS
    )


def _requests(path: Path) -> Iterator[tuple[int, TraceRequest]]:
    with open_text(path) as file:
        first = _first_line(path, file)
        kind, names = _recognise(path, first)
        rows = json_rows(path, first, file) if kind.jsonl else csv_rows(path, names, file)
        for number, row in rows:
            try:
                yield number, kind.parse(row)
            except _ValueError as error:
                column, seen, allowed = error.args
                raise bad_row(path, number, f"{column} {seen!r}", allowed) from None


def _ordered(path: Path, requests: Iterator[tuple[int, TraceRequest]]) -> Iterator[TraceRequest]:
    """Moves the beginning to 0 and puts swapped neighbours at one moment."""
    start: float | None = None
    latest = 0.0
    for number, request in requests:
        if start is None:
            start = request.at_s
        at = request.at_s - start
        if at < latest - SLACK_S:
            raise bad_row(path, number, f"a time {latest - at:.1f} s before the row above", "rows in order of time")
        latest = max(latest, at)
        yield TraceRequest(latest, request.client, request.input_tokens, request.output_tokens, request.prefix)
    if start is None:
        raise DomainError("bad_trace", f"The trace {path} has a first line and no requests.")


def _shown(seen: Any) -> str | None:
    return None if seen is None else str(seen)[:40]


def _tokens(row: dict[str, Any], column: str) -> int:
    seen = row.get(column)
    try:
        if isinstance(seen, bool | float):
            raise ValueError
        value = int(seen)  # type: ignore[arg-type]  # a wrong type raises, which is the point
    except (TypeError, ValueError):
        value = -1
    if not 0 <= value <= LARGEST_TOKENS:
        raise _ValueError(column, _shown(seen), f"a whole number from 0 to {LARGEST_TOKENS}")
    return value


def _number(row: dict[str, Any], column: str) -> float:
    seen = row.get(column)
    try:
        value = math.nan if isinstance(seen, bool) else float(seen)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise _ValueError(column, _shown(seen), "a finite number")
    return value


def _azure(row: dict[str, Any]) -> TraceRequest:
    text = row["TIMESTAMP"].strip()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _ValueError("TIMESTAMP", text[:40], "a date and time like 2023-11-16 18:15:46.6805900") from None
    seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return TraceRequest(seconds, "", _tokens(row, "ContextTokens"), _tokens(row, "GeneratedTokens"))


def _servegen(row: dict[str, Any]) -> TraceRequest:
    client = row["client"].strip()
    if not client:
        raise _ValueError("client", "", "a name or number")
    return TraceRequest(_number(row, "t_s"), client, _tokens(row, "input_tokens"), _tokens(row, "output_tokens"))


def _mooncake(row: dict[str, Any]) -> TraceRequest:
    hashes = row.get("hash_ids", [])
    if not isinstance(hashes, list) or not all(type(item) is int for item in hashes):
        raise _ValueError("hash_ids", str(hashes)[:40], "a list of whole numbers")
    at = _number(row, "timestamp") / 1000
    return TraceRequest(at, "", _tokens(row, "input_length"), _tokens(row, "output_length"), tuple(hashes))


FORMATS: tuple[TraceFormat, ...] = (
    TraceFormat("azure", ("TIMESTAMP", "ContextTokens", "GeneratedTokens"), False, _azure),
    TraceFormat("servegen", ("t_s", "client", "input_tokens", "output_tokens"), False, _servegen),
    TraceFormat("mooncake", ("timestamp", "input_length", "output_length"), True, _mooncake),
)
