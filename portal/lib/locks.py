"""A lock in Valkey held for a short while: a token says whose it is, an expiry ends it after a crash."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast

# Deletes the lock only while it is still ours: after the expiry it may belong to somebody else.
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class _Store(Protocol):
    def set(self, name: str, value: str, *, nx: bool, px: int) -> object: ...
    def eval(self, script: str, numkeys: int, *keys_and_args: str) -> object: ...


@contextmanager
def store_lock(store: object, name: str, ttl_ms: int) -> Iterator[bool]:
    """Yields True when the lock ``name`` was free and is ours for at most ``ttl_ms``; False when another holds it.

    ``store`` is a redis-py client. Never waits. Errors of the store pass through; an unreleased lock ends by itself.
    """
    client = cast(_Store, store)
    token = secrets.token_hex(16)
    mine = bool(client.set(f"tp:lock:{name}", token, nx=True, px=ttl_ms))
    try:
        yield mine
    finally:
        if mine:
            client.eval(_RELEASE, 1, f"tp:lock:{name}", token)
