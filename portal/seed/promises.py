"""What is promised: entitlements drawn at random, then replicas enough for them. Nothing here breaks the law: every
promise fits what its pool may have, and what is bound fits what is ready."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

import numpy as np

from pools.choices import CLASS_RULES, EndpointState, EntitlementState, ServiceClass
from pools.models import CapacityProfile, Endpoint, Entitlement, Tier
from pools.services.supply import HELD_STATES, PROMISED_STATES
from portal.accounts.models import Tenant
from portal.lib.copying import ids_take
from portal.seed.products import PRODUCTS, Place
from portal.seed.sizes import Size

State = EntitlementState
FULL = 0.92
"""Share of the ready capacity that bound promises take at most; some pools are filled to the last slot."""
MOST_SLOTS = {
    ServiceClass.DEDICATED: 6,
    ServiceClass.GUARANTEED: 4,
    ServiceClass.ELASTIC: 4,
    ServiceClass.SPOT: 10,
    ServiceClass.PREEMPTIBLE: 12,
}


@dataclass(slots=True)
class Drawn:
    """Entitlements that are not written yet; ``by_pool`` the same ones under their pool's id."""

    rows: list[Entitlement] = field(default_factory=list)
    by_pool: dict[int, list[Entitlement]] = field(default_factory=dict)

    def add(self, row: Entitlement) -> None:
        """One more."""
        self.rows.append(row)
        self.by_pool.setdefault(row.pool_id, []).append(row)


def promises_draw(
    size: Size, tenants: Sequence[Tenant], tiers: Sequence[Tier], places: Sequence[Place], seed: int, now: datetime
) -> Drawn:
    """The crowd in the first pool, the busiest tenant in as many as it takes, the rest anywhere but in the last pool,
    which nobody is in and which has no replica."""
    dice, drawn = random.Random(seed), Drawn()
    shares = [product[3] for product in PRODUCTS]
    crowd, others = places[0], places[1:-1]
    for tenant in tenants:
        for window in range(size.windows):
            drawn.add(_windowed(tenant, crowd, dice.choices(tiers, shares)[0], window, dice, now))
    busiest = dice.sample(list(others), min(len(others), size.busiest - size.windows))
    pairs = [(tenants[-1], place) for place in busiest]
    ended = int(size.entitlements * size.ended)
    wanted = size.entitlements - ended - len(drawn.rows) - len(pairs)
    chosen = _pairs(len(tenants) - 1, len(others), wanted, size.busiest - size.windows - 1, seed)
    pairs += [(tenants[row], others[column]) for row, column in chosen]
    for tenant, place in pairs:
        drawn.add(_usual(tenant, place, dice.choices(tiers, shares)[0], dice, now))
    for tenant, place in dice.sample(pairs, min(ended, len(pairs))):
        drawn.add(_ended(tenant, place, dice.choices(tiers, shares)[0], dice, now))
    for row, identity in zip(drawn.rows, ids_take(Entitlement, len(drawn.rows)), strict=True):
        row.pk = identity
    return drawn


def _pairs(tenants: int, places: int, wanted: int, most: int, seed: int) -> list[tuple[int, int]]:
    """Distinct (tenant, pool) pairs: big tenants and popular pools more often, no tenant in more than ``most``."""
    noise = np.random.default_rng(seed)
    weight = noise.lognormal(0, 0.7, tenants)[:, None] * noise.lognormal(0, 0.4, places)[None, :]
    keys = np.log(weight) + noise.gumbel(size=weight.shape)
    if most < places:  # beyond the best few of a row nothing may be chosen
        cut = np.partition(keys, places - most, axis=1)[:, places - most][:, None]
        keys = np.where(keys >= cut, keys, -np.inf)
    flat = keys.ravel()
    best = np.argpartition(-flat, min(wanted, flat.size - 1))[:wanted]
    return [(int(at // places), int(at % places)) for at in best if np.isfinite(flat[at])]


def _windowed(tenant: Tenant, place: Place, tier: Tier, window: int, dice: random.Random, now: datetime) -> Entitlement:
    begins = now + timedelta(days=-20 + 90 * window)
    row = _row(tenant, place, tier, dice.randint(1, 2), dice, now)
    row.slug = f"{tenant.slug}-{place.pool.slug}-{window + 1}"
    row.valid_from, row.valid_until = begins, begins + timedelta(days=90)
    if window:
        row.state, row.state_reason = State.PENDING.value, "Its validity window has not begun."
    return row


def _usual(tenant: Tenant, place: Place, tier: Tier, dice: random.Random, now: datetime) -> Entitlement:
    row = _row(tenant, place, tier, dice.randint(1, MOST_SLOTS[ServiceClass(tier.service_class)]), dice, now)
    row.valid_from = now - timedelta(days=dice.uniform(1, 300))
    if dice.random() < 0.5:
        row.valid_until = now + timedelta(days=dice.choice((3, 10, 25, 60, 120, 360)) * dice.uniform(0.8, 1.2))
    chance = dice.random()
    if chance < 0.015:
        row.state, row.state_reason = State.SUSPENDED.value, "Suspended by an operator."
        row.suspended_at = row.state_since
    elif chance < 0.04:
        row.state, row.state_reason = State.PENDING.value, "Its validity window has not begun."
        row.valid_from, row.valid_until = now + timedelta(days=dice.uniform(1, 40)), None
    elif chance < 0.043 and CLASS_RULES[ServiceClass(tier.service_class)].rank == 0:
        row.state, row.state_reason = State.DRAINING.value, "Its capacity is withheld; others' work is running down."
    return row


def _ended(tenant: Tenant, place: Place, tier: Tier, dice: random.Random, now: datetime) -> Entitlement:
    row = _usual(tenant, place, tier, dice, now)
    row.slug = f"{tenant.slug}-{place.pool.slug}-old"
    row.state, row.state_reason = State.EXPIRED.value, "Its validity window has ended."
    row.valid_from = now - timedelta(days=dice.uniform(400, 600))
    row.valid_until = row.state_since = row.valid_from + timedelta(days=60)
    return row


def _row(tenant: Tenant, place: Place, tier: Tier, slots: int, dice: random.Random, now: datetime) -> Entitlement:
    """A bound one of so many slots, with roughly their share of tokens and KV bytes."""
    kind, replica = ServiceClass(tier.service_class), place.replica
    amounts = [
        max(1, round(replica.tokens_per_second * slots / replica.concurrency * dice.uniform(0.85, 1.1))),
        max(1, round(replica.kv_bytes * slots / replica.concurrency * dice.uniform(0.85, 1.1)) >> 20) << 20,
        slots,
    ]
    since = now - timedelta(days=dice.uniform(0.1, 90))
    row = Entitlement(
        slug=f"{tenant.slug}-{place.pool.slug}",
        tenant=tenant,
        pool=place.pool,
        tier=tier,
        state=State.BOUND.value,
        state_reason="Bound.",
        state_since=since,
        bound_at=since,
        created_at=since,
        updated_at=since,
        revision=dice.choice((1, 1, 1, 2, 3)),
    )
    promises = CLASS_RULES[kind].rank <= 1
    side = "base" if promises else "cap"
    for name, value in zip(("tokens_per_second", "kv_bytes", "concurrency"), amounts, strict=True):
        setattr(row, f"{side}_{name}", value)
        if kind == ServiceClass.ELASTIC and slots % 3 == 0:
            setattr(row, f"cap_{name}", value * 3)
    return row


def replicas_fit(place: Place, rows: Sequence[Entitlement], dice: random.Random) -> int:
    """Sets the pool's numbers of replicas so that its promises fit; returns how many are ready."""
    pool, replica = place.pool, place.replica
    held = _needed(rows, replica, HELD_STATES, pool.oversubscription)
    promised = _needed(rows, replica, PROMISED_STATES, pool.oversubscription)
    if not rows:
        pool.min_replicas, pool.max_replicas, pool.wanted_replicas = 0, 2, 0
        return 0
    ready = max(1, int(-(-held // 1)) if dice.random() < 0.2 else int(-(-held // FULL)))
    pool.min_replicas = max(1, ready // 3)
    pool.max_replicas = max(ready, int(-(-promised // 1))) + dice.choice((0, 1, 4))
    pool.wanted_replicas = min(pool.max_replicas, ready + (1 if dice.random() < 0.2 else 0))
    pool.provider_config = {"urls": [_url(place, number) for number in range(pool.max_replicas + 2)]}
    return ready


def _needed(rows: Sequence[Entitlement], replica: CapacityProfile, states: Sequence[str], over: float) -> float:
    """Replicas that the promises in these states fill, the fullest dimension counting."""
    most = 0.0
    for name in ("tokens_per_second", "kv_bytes", "concurrency"):
        total = 0.0
        for row in rows:
            rank = CLASS_RULES[ServiceClass(row.tier.service_class)].rank
            if row.state in states and rank <= 1:
                total += cast(int, getattr(row, f"base_{name}")) / (over if rank else 1.0)
        most = max(most, total / cast(int, getattr(replica, name)))
    return most


def _url(place: Place, number: int) -> str:
    return f"http://{place.pool.slug}-{number}.seed.example"


def endpoints_make(place: Place, ready: int, dice: random.Random, now: datetime) -> list[Endpoint]:
    """The ready replicas, here and there one that starts, drains or failed."""
    pool = place.pool
    states = [EndpointState.READY] * ready
    states += [EndpointState.STARTING] * (pool.wanted_replicas - ready)
    states += [EndpointState.DRAINING] if dice.random() < 0.08 else []
    states += [EndpointState.FAILED] if dice.random() < 0.12 else []
    return [
        Endpoint(
            pool=pool,
            name=f"{pool.slug}-{number + 1}",
            ordinal=number,
            url=_url(place, number),
            provider_ref=_url(place, number),
            state=state.value,
            state_reason="/health does not answer." if state == EndpointState.FAILED else "",
            state_since=now - timedelta(minutes=dice.uniform(1, 4000)),
            profile=place.replica,
            created_at=now - timedelta(days=dice.uniform(1, 30)),
            ready_at=now - timedelta(hours=dice.uniform(1, 20)) if state == EndpointState.READY else None,
            running=dice.randint(4, 40) if state == EndpointState.READY else 0,
            waiting=dice.choice((0, 0, 0, 3)),
            kv_usage=round(dice.uniform(0.2, 0.9), 3) if state == EndpointState.READY else 0.0,
            tokens_per_second=round(place.replica.tokens_per_second * dice.uniform(0.2, 0.9), 1),
            generation_tokens_total=dice.randint(10**6, 10**9),
            scraped_at=now,
        )
        for number, state in enumerate(states)
    ]
