"""Counts failed sign-ins per address and per sender, so that passwords cannot be tried without end."""

from __future__ import annotations

import hashlib

from django.core.cache import cache

WINDOW_S = 300
MOST_PER_ADDRESS = 8
MOST_PER_SENDER = 40


def _keys(email: str, sender: str) -> dict[str, int]:
    def name(kind: str, value: str) -> str:
        return f"sign-in:{kind}:{hashlib.sha256(value.encode()).hexdigest()[:32]}"

    return {name("address", email.strip().lower()): MOST_PER_ADDRESS, name("sender", sender): MOST_PER_SENDER}


def blocked(email: str, sender: str) -> bool:
    """Whether this e-mail address or this sender has failed too often in the last five minutes."""
    keys = _keys(email, sender)
    seen = cache.get_many(list(keys))
    return any(seen.get(key, 0) >= most for key, most in keys.items())


def failed(email: str, sender: str) -> None:
    """Note one failure; the window starts with the first."""
    for key in _keys(email, sender):
        if not cache.add(key, 1, WINDOW_S):
            try:
                cache.incr(key)
            except ValueError:  # it expired between the two calls
                cache.add(key, 1, WINDOW_S)


def succeeded(email: str, sender: str) -> None:
    """A right password clears the address, not the sender: guessing many addresses stays slow."""
    cache.delete(next(iter(_keys(email, sender))))
