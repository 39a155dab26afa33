"""From an API key to what it may use, without a database: documents in the hot store, cached here for half a second.

A revoked key stops within that half second even if the message that announces it is lost. The caches are bounded, so
guessing keys costs the guesser more than it costs the gateway.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from pools.choices import FailMode, ServiceClass
from pools.counters import keys as names
from pools.counters.types import CounterUnavailable
from pools.gateway.wire import Scope, unavailable
from portal.lib.errors import DomainError
from portal.lib.secrets import KEY_PREFIX, key_digest

FRESH_SECONDS = 0.5
STALE_SECONDS = 600.0  # while the store is away, a key seen this recently is still known
MAX_KEYS = 20_000
MAX_UNKNOWN = 4_096
MAX_KEY_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key may do with one model."""

    model: str
    pool_id: int
    entitlement_id: int
    service_class: ServiceClass
    tier: str
    default_max_tokens: int
    largest_max_tokens: int
    hold_ms: int
    fail_mode: FailMode


@dataclass(frozen=True, slots=True)
class KeyDocument:
    """A gateway key: whose it is, until when, its grants by model name, and whether its tenant is suspended."""

    key_id: int
    tenant: str
    expires_at_s: float | None
    grants: dict[str, Grant]
    suspended: bool = False


class _Known(NamedTuple):
    """``checked``: when the store was last asked; ``confirmed``: when it last answered."""

    checked: float
    confirmed: float
    raw: bytes
    document: KeyDocument


class Keys:
    """``read`` fetches a document by key name (CounterClient.get_document)."""

    def __init__(self, read: Callable[[str], Awaitable[bytes | None]], secret_key: str) -> None:
        self._read = read
        self._secret_key = secret_key
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._asking: dict[str, asyncio.Future[KeyDocument | None]] = {}

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown) + len(self._asking)

    async def look_up(self, scope: Scope, now_s: float) -> KeyDocument:
        """The document of the request's key. Raises DomainError 401 (missing, malformed, unknown, revoked, expired),
        403 when its tenant is suspended, or 503 when the store is away and the key was not seen lately."""
        plaintext = presented_key(scope)
        if not plaintext.startswith(KEY_PREFIX) or len(plaintext) > MAX_KEY_LENGTH:
            raise refused("This is not a key for inference." if plaintext else "No API key was given.")
        digest = key_digest(plaintext, self._secret_key)
        document = await self._document(digest)
        if document is None:
            raise refused("The API key is unknown or has been revoked.")
        if document.expires_at_s is not None and document.expires_at_s <= now_s:
            raise refused("The API key has expired.", code="expired_api_key")
        if document.suspended:
            sentence = f"The tenant {document.tenant} is suspended; ask the operator to resume it."
            raise DomainError("tenant_suspended", sentence, status=403)
        return document

    def revoke(self, digest: str) -> None:
        """Forgets a key at once; called for each message on the revocation channel."""
        self._known.pop(digest, None)
        self._unknown.pop(digest, None)

    async def _document(self, digest: str) -> KeyDocument | None:
        now = asyncio.get_running_loop().time()
        entry = self._known.get(digest)
        if entry is not None and now - entry.checked < FRESH_SECONDS:
            return entry.document
        absent_since = self._unknown.get(digest)
        if absent_since is not None and now - absent_since < FRESH_SECONDS:
            return None
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.ensure_future(self._fetch(digest))
            asking.add_done_callback(lambda _: self._asking.pop(digest, None))
        return await asyncio.shield(asking)

    async def _fetch(self, digest: str) -> KeyDocument | None:
        # The age of an answer is counted from the question, so a key revoked meanwhile is not kept longer.
        loop = asyncio.get_running_loop()
        asked = loop.time()
        entry = self._known.get(digest)
        try:
            raw = await self._read(names.key_document(digest))
        except CounterUnavailable:
            if entry is not None and asked - entry.confirmed < STALE_SECONDS:
                self._known[digest] = entry._replace(checked=asked)
                return entry.document
            raise unavailable(
                "The store that knows API keys does not answer; try again shortly.", code="store_unavailable"
            ) from None
        if raw is None:
            document = None
        else:
            document = entry.document if entry is not None and entry.raw == raw else read_document(raw)
        if raw is None or document is None:
            self._known.pop(digest, None)
            _put(self._unknown, digest, asked, MAX_UNKNOWN)
            return None
        self._unknown.pop(digest, None)
        _put(self._known, digest, _Known(asked, asked, raw, document), MAX_KEYS)
        return document


def _put(cache: OrderedDict[str, Any], key: str, value: Any, bound: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > bound:
        cache.popitem(last=False)


def presented_key(scope: Scope) -> str:
    """The key of ``Authorization: Bearer`` or, as Azure's clients send it, ``api-key``; "" when there is none."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer":
                return str(key.strip().decode("latin-1"))
        elif name == b"api-key":
            return str(value.strip().decode("latin-1"))
    return ""


def refused(sentence: str, code: str = "invalid_api_key") -> DomainError:
    """401."""
    return DomainError(
        code,
        f"{sentence} Send a valid key as 'Authorization: Bearer …'.",
        status=401,
        headers=[(b"www-authenticate", b"Bearer")],
    )


def read_document(raw: bytes) -> KeyDocument | None:
    """Parses a published key document; None for another kind of key or another version."""
    document = orjson.loads(raw)
    if document.get("v") != 1 or document.get("kind") != "gateway":
        return None
    grants = {
        model: Grant(
            model=model,
            pool_id=terms["pool_id"],
            entitlement_id=terms["entitlement_id"],
            service_class=ServiceClass(terms["service_class"]),
            tier=terms["tier"],
            default_max_tokens=terms["default_max_tokens"],
            largest_max_tokens=terms["largest_max_tokens"],
            hold_ms=terms["hold_ms"],
            fail_mode=FailMode(terms["fail_mode"]),
        )
        for model, terms in document["models"].items()
    }
    suspended = document.get("suspended") is True
    return KeyDocument(document["key_id"], document["tenant"], document["expires_at"], grants, suspended)
