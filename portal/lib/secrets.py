"""API keys: made once, shown once, kept only as a keyed digest."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import lru_cache

KEY_PREFIX = "tp_live_"
MANAGEMENT_PREFIX = "tp_mgmt_"
VISIBLE_CHARACTERS = 14


@lru_cache(maxsize=4)
def _pepper(secret_key: str) -> bytes:
    return hashlib.sha256(b"token-pools api key pepper\0" + secret_key.encode()).digest()


def new_key(prefix: str = KEY_PREFIX) -> str:
    """A fresh plaintext key with 192 bits of randomness behind its kind's prefix."""
    return prefix + secrets.token_urlsafe(24)


def key_digest(plaintext: str, secret_key: str) -> str:
    """Hex HMAC-SHA256 of a key under a pepper derived from SECRET_KEY; what the database and hot store keep."""
    return hmac.new(_pepper(secret_key), plaintext.encode(), hashlib.sha256).hexdigest()


def visible_part(plaintext: str) -> str:
    """The beginning of a key that may be shown for recognition."""
    return plaintext[:VISIBLE_CHARACTERS]
