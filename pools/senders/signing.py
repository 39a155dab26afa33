"""The signature of a webhook: HMAC-SHA256 over id, timestamp and body, as the Standard Webhooks scheme has it.

::

    webhook-id: the message's id, the same at every try: a receiver that knows it has had it before
    webhook-timestamp: seconds since 1970, of this try
    webhook-signature: v1,BASE64 [v1,BASE64 …]   one for each secret that is valid now

A receiver takes the secret's part after ``whsec_`` as base64, computes HMAC-SHA256 over ``id.timestamp.body``, compares
it in constant time with each signature, and refuses a timestamp more than five minutes from its own clock: a message
that was caught cannot be played again later.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping

PREFIX = "whsec_"
SECRET_BYTES = 32
WINDOW_S = 300


def new_secret() -> str:
    """A fresh secret with 256 bits of randomness."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """ "v1,BASE64" of one secret."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def signed_headers(signers: Iterable[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers, with one signature for each secret in ``signers``."""
    signatures = [signature(secret, message_id, timestamp, body) for secret in signers]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def genuine(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """What a receiver does: whether the message is ours, whole, and not older than the window."""
    try:
        timestamp = int(headers["webhook-timestamp"])
        expected = signature(secret, headers["webhook-id"], timestamp, body)
    except (KeyError, ValueError, binascii.Error):
        return False
    if abs(now - timestamp) > WINDOW_S:
        return False
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(one.encode(), expected.encode()) for one in given)
