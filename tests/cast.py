"""The cast of the stories: Olga runs the platform; Alice is promised capacity, Eve is elastic, Bob takes what is left.

A pool has two kinds of replica rows here: real processes where a story needs them, and rows made ready by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pools.choices import EndpointState
from pools.mechanism.amounts import Rate
from pools.models import Endpoint, Entitlement, Pool, Tier
from pools.services.binding import binding_reconcile
from pools.services.documents import documents_refresh
from pools.services.entitlements import entitlement_create
from pools.services.pools import ProfileInput, pool_create
from pools.services.shards import shards_forget
from pools.services.tenants import tenant_create
from pools.services.tiers import TierTerms, tier_create
from portal.accounts.models import Tenant
from portal.audit.models import Source
from portal.audit.services import Actor

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
OLGA = Actor(None, Source.PAGE, "olga@example.org")
REPLICA = ProfileInput(
    layers=32,
    kv_heads=8,
    head_dim=128,
    num_gpu_blocks=8192,
    max_num_seqs=16,
    context_length=8192,
    planned_context=512,
    prefill_tokens_per_second=2000,
    itl_base_ms=1000 / 15,
    itl_per_sequence_ms=0,
    mean_input_tokens=64,
    mean_output_tokens=64,
)
"""16 slots; 131,072 bytes per token."""
KV_TOKEN = 131_072
SLOT_KV = 512 * KV_TOKEN


def later(seconds: float) -> datetime:
    """That long after the stories begin."""
    return NOW + timedelta(seconds=seconds)


def pool_make(slug: str = "chat-8b", **options: Any) -> Pool:
    """A pool of 1 to 4 replicas without any endpoint yet."""
    shards_forget()
    return pool_create(
        actor=OLGA,
        now=NOW,
        slug=slug,
        name=slug,
        model_name=slug,
        profile=REPLICA,
        **{"min_replicas": 1, "max_replicas": 4, **options},
    )


def replica_ready(pool: Pool, number: int = 1) -> Endpoint:
    """A replica that serves, by its row only."""
    return Endpoint.objects.create(
        pool=pool,
        name=f"{pool.slug}-{number}",
        ordinal=number - 1,
        url=f"http://127.0.0.1:{40_000 + number}",
        state=EndpointState.READY.value,
        profile=pool.current_profile,
        ready_at=NOW,
        scraped_at=NOW,
    )


def tier_make(service_class: str, slug: str = "", **changes: Any) -> Tier:
    """A tier of a class with the class's own terms, or some of them changed."""
    return tier_create(
        actor=OLGA,
        now=NOW,
        slug=slug or service_class,
        name=slug or service_class,
        service_class=service_class,
        terms=TierTerms.of_class(service_class, **changes),
    )


def tenant_make(slug: str) -> Tenant:
    """A tenant."""
    return tenant_create(actor=OLGA, now=NOW, slug=slug, name=slug.capitalize())


def slots(count: int) -> Rate:
    """A promise of so many slots, with their share of tokens and KV bytes."""
    return Rate(15 * count, SLOT_KV * count, count)


def promise(pool: Pool, tenant: Tenant, tier: Tier, base: Rate, **options: Any) -> Entitlement:
    """An entitlement of a class with a baseline."""
    made = entitlement_create(actor=OLGA, now=NOW, tenant=tenant, pool=pool, tier=tier, base=base, **options)
    return made.entitlement


def leftover(pool: Pool, tenant: Tenant, tier: Tier, cap: Rate) -> Entitlement:
    """An entitlement without a baseline."""
    made = entitlement_create(
        actor=OLGA,
        now=NOW,
        tenant=tenant,
        pool=pool,
        tier=tier,
        cap=(cap.tokens_per_second, cap.kv_bytes, cap.concurrency),
    )
    return made.entitlement


@dataclass(frozen=True, slots=True)
class World:
    """One pool with a ready replica; everybody bound."""

    pool: Pool
    alice: Entitlement
    eve: Entitlement
    bob: Entitlement


def world_make(replicas: int = 1, begin: Callable[[Pool], None] | None = None) -> World:
    """Alice: guaranteed, 6 slots. Eve: elastic, 5 slots, up to 10. Bob: spot, up to 16.

    ``begin`` is called with the pool before the counters hear of it.
    """
    pool = pool_make()
    if begin is not None:
        begin(pool)
    for number in range(1, replicas + 1):
        replica_ready(pool, number)
    alice = promise(pool, tenant_make("alice"), tier_make("guaranteed"), slots(6))
    eve = promise(pool, tenant_make("eve"), tier_make("elastic"), slots(5))
    bob = leftover(pool, tenant_make("bob"), tier_make("spot"), slots(16))
    documents_refresh(NOW, full=True)
    binding_reconcile(pool.pk, NOW)
    for row in (alice, eve, bob):
        row.refresh_from_db()
    return World(pool, alice, eve, bob)
