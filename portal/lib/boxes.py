"""What must be read again but shall not lie open in the database: sealed under a key derived from SECRET_KEY.

Each purpose has a key of its own, so that a sealed text of one place opens nowhere else. Whoever changes SECRET_KEY
loses what is sealed: it opens as None, and its place says so and how to go on.
"""

from __future__ import annotations

import base64
import hashlib
from enum import StrEnum
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


class Purpose(StrEnum):
    """What a sealed text is for. The words are part of the key: never change them."""

    SECOND_FACTORS = "second factors"
    WEBHOOK_SECRETS = "webhook secrets"


def seal(text: str, purpose: Purpose) -> str:
    """The text as it may lie in the database; nothing stays nothing."""
    return _box(purpose, settings.SECRET_KEY).encrypt(text.encode()).decode() if text else ""


def unseal(sealed: str, purpose: Purpose) -> str | None:
    """The text again; None for one that was sealed under another SECRET_KEY or for another purpose."""
    if not sealed:
        return ""
    try:
        return _box(purpose, settings.SECRET_KEY).decrypt(sealed.encode()).decode()
    except InvalidToken:
        return None


@lru_cache(maxsize=8)
def _box(purpose: Purpose, secret_key: str) -> Fernet:
    digest = hashlib.sha256(f"token-pools {purpose}\0{secret_key}".encode()).digest()
    return Fernet(base64.urlsafe_b64encode(digest))
