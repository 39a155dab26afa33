"""Waiting until a door says it is ready."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable

POLL_S = 0.1


def says_ready(url: str, timeout_s: float = 2.0) -> bool:
    """Whether ``url``/readyz answers 200."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=timeout_s) as answer:  # noqa: S310  http, ours
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def wait_ready(urls: list[str], timeout_s: float, pause: Callable[[float], None] = time.sleep) -> list[str]:
    """Waits until every door is ready; returns those that were not after ``timeout_s``, so [] is success.

    ``pause`` sleeps between two looks and may raise to give up.
    """
    end, missing = time.monotonic() + timeout_s, list(urls)
    while missing and time.monotonic() < end:
        missing = [url for url in missing if not says_ready(url)]
        if missing:
            pause(POLL_S)
    return missing
