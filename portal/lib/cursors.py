"""Places in a sorted list, as text for an address: what the last row was sorted by, and its id."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

import orjson

from portal.lib.errors import DomainError

MOST = 2**63


def cursor_write(sort: str, descending: bool, value: Any, key: int) -> str:
    """The place after a row. ``value`` is a text, a number or a moment."""
    text = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(orjson.dumps([sort, descending, text, key])).decode().rstrip("=")


def cursor_read(cursor: str, sort: str, descending: bool, kind: type) -> tuple[Any, int]:
    """The value and the id in a cursor of the same sorting; ``kind``: str, int (0 or more), float or datetime.

    Raises DomainError ``bad_cursor`` for anything that :func:`cursor_write` did not write.
    """
    try:
        raw = cursor.encode("ascii")
        document = orjson.loads(base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4)))
        named, side, value, key = document
        if (named, side) != (sort, descending) or type(key) is not int or not 0 <= key < MOST:
            raise ValueError
        if kind is datetime:
            value = datetime.fromisoformat(value)
            if value.tzinfo is None:
                raise ValueError
        elif kind is int:
            if type(value) is not int or not 0 <= value < MOST:
                raise ValueError
        elif kind is float:
            if type(value) not in (int, float) or not -MOST < value < MOST:
                raise ValueError
        elif type(value) is not str or "\x00" in value:
            raise ValueError
    except (ValueError, TypeError, binascii.Error, orjson.JSONDecodeError):
        sentence = "The place in the list could not be read: go back to the first page."
        raise DomainError("bad_cursor", sentence) from None
    return value, key
