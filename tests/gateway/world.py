"""What the control plane would have written before a gateway starts: pools, entitlements, keys, routes."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import redis

from pools.choices import CLASS_RULES, EntitlementState, ServiceClass
from pools.counters import keys as names
from pools.counters.store import CounterStore
from pools.counters.types import EntitlementCounterConfig, PoolCounterConfig, UsageEvent
from pools.mechanism.amounts import Rate
from portal.lib.secrets import key_digest, new_key

SECRET = "a secret for tests"
TOKEN_KV = 1024
POOL = 1


@dataclass
class World:
    """One pool ``chat`` (16 sequences) with the given endpoints; entitlements are added by ``entitle``."""

    url: str
    store: CounterStore
    raw: redis.Redis
    capacity: Rate = field(default_factory=lambda: Rate(10_000, 16 * 8192 * TOKEN_KV, 16))
    next_id: int = 1
    seen: list[UsageEvent] = field(default_factory=list)

    def pool(self, *urls: str, fresh: bool = True, **changes: Any) -> None:
        """Publishes the pool with one ready endpoint per URL."""
        self.store.configure_pool(PoolCounterConfig(POOL, self.capacity, max(1, len(urls)), 1))
        endpoint = {"state": "ready", "slots": 16, "kv_bytes": 1 << 40, "running": 0, "waiting": 0, "kv_usage": 0.0}
        route = {
            "v": 1, "pool_id": POOL, "pool": "chat", "model": "chat", "upstream_model": "sim-8b",
            "context_length": 8192, "block_tokens": 16, "kv_bytes_per_token": TOKEN_KV, "weight_input": 1,
            "weight_output": 1, "bytes_per_token": 4.0, "lease_ms": 60_000, "capacity_version": 1,
            "mean_service_ms": 1000, "tokenize": False,
            "endpoints": [{"id": n, "url": url, "fresh": fresh, **endpoint} for n, url in enumerate(urls, 1)],
            **changes,
        }  # fmt: skip
        self.put(names.route_document(POOL), route)
        self.put(names.POOLS_KEY, [POOL])

    def entitle(
        self,
        service_class: ServiceClass = ServiceClass.ELASTIC,
        *,
        cap: Rate | None = None,
        base: Rate | None = None,
        bucket: int = 100_000,
        state: EntitlementState = EntitlementState.BOUND,
        expires_at: float | None = None,
        **grant: Any,
    ) -> Key:
        """An entitlement in the pool and a key for it."""
        entitlement = self.next_id
        self.next_id += 1
        cap = cap or Rate(1000, self.capacity.kv_bytes, 8)
        base = base or (cap if CLASS_RULES[service_class].rank == 0 else Rate(0, 0, 0))
        self.store.configure_entitlements(
            POOL,
            [EntitlementCounterConfig(entitlement, state, service_class, base, cap, cap, bucket)],
        )
        plaintext = new_key()
        digest = key_digest(plaintext, SECRET)
        terms = {
            "pool_id": POOL, "entitlement_id": entitlement, "service_class": service_class, "tier": "gold",
            "default_max_tokens": 64, "largest_max_tokens": 4096, "hold_ms": 0, "fail_mode": "closed", **grant,
        }  # fmt: skip
        document = {
            "v": 1, "key_id": entitlement, "tenant_id": 1, "tenant": "acme", "kind": "gateway",
            "expires_at": expires_at, "models": {"chat": terms},
        }  # fmt: skip
        self.put(names.key_document(digest), document)
        return Key(plaintext, digest, entitlement)

    def put(self, key: str, document: Any) -> None:
        self.store.put_document(key, json.dumps(document).encode())

    def revoke(self, key: Key, *, tell: bool = True) -> None:
        self.store.delete_document(names.key_document(key.digest))
        if tell:
            self.store.publish(names.REVOKED_CHANNEL, key.digest)

    def live(self) -> int:
        """Reservations that are not settled."""
        return len(self.store.live_reservations(POOL))

    def usage(self) -> list[UsageEvent]:
        """Every settlement so far, oldest first."""
        while fresh := self.store.read_usage(POOL, "tests", 1000):
            self.seen.extend(fresh)
            self.store.ack_usage(POOL, [event.stream_id for event in fresh])
        return self.seen

    def untouched(self) -> bool:
        """No request was ever admitted."""
        return self.live() == 0 and self.store.snapshot(POOL).pool.admitted == 0


@dataclass(frozen=True)
class Key:
    plaintext: str
    digest: str
    entitlement: int

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.plaintext}"}


async def until(condition: Callable[[], Any | Awaitable[Any]], within_s: float = 5.0) -> Any:
    """Waits until something that nothing announces has become true."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, "it did not become true in time"
        await asyncio.sleep(0.01)
