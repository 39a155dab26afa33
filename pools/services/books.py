"""Whether the books (Postgres) answer, as this process last saw it.

While they are away a query waits seconds for a connection. Were every task to wait, no thread would be left for the
tick; so after the first failure only one task in a few seconds tries, and the tick goes on with what it knows.
"""

from __future__ import annotations

import threading
import time

TRY_AGAIN_S = 5.0
_lock = threading.Lock()
_away = False
_next_try = 0.0
_failures = 0


def books_failed() -> None:
    """A query could not be asked."""
    global _away, _next_try, _failures
    with _lock:
        _away, _next_try, _failures = True, time.monotonic() + TRY_AGAIN_S, _failures + 1


def books_failures() -> int:
    """How often that happened."""
    return _failures


def books_answered() -> None:
    """A query was answered."""
    global _away
    _away = False


def books_away() -> bool:
    """True while the last that was heard of them was a failure; for whoever can do without."""
    return _away


def books_may_be_asked() -> bool:
    """False while they are away, but for one caller every few seconds, who finds out."""
    global _next_try
    if not _away:
        return True
    with _lock:
        if time.monotonic() < _next_try:
            return False
        _next_try = time.monotonic() + 2 * TRY_AGAIN_S
        return True
