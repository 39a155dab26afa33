"""The tables of the demo world. Amounts are slots of a replica: one brings its share of tokens/s and KV bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pools.choices import FailMode, ServiceClass
from pools.services.pools import ProfileInput
from pools.simulator.workload import Habit, Lengths, Rush
from portal.accounts.choices import PlatformRole, TenantRole

DAY_S = 240.0
"""A day of the demo's tenants, in seconds."""

SMALL_REPLICA = ProfileInput(
    layers=32,
    kv_heads=8,
    head_dim=128,
    num_gpu_blocks=448,
    max_num_seqs=16,
    context_length=2048,
    planned_context=384,
    prefill_tokens_per_second=2000.0,
    itl_base_ms=62.6,
    itl_per_sequence_ms=0.25,
    mean_input_tokens=112,
    mean_output_tokens=48,
    accelerator="simulated",
)
"""The paper's replica: 16 slots, 240 output tokens/s together. Llama-3.1-8B's KV size."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A pool on simulated endpoints, each like ``replica``."""

    slug: str
    name: str
    most: int
    cold_start_s: float
    options: dict[str, Any]
    replica: ProfileInput = SMALL_REPLICA


@dataclass(frozen=True, slots=True)
class TierPlan:
    """A tier; ``terms`` differ from its class's defaults, ``shadow`` from these: it watches what they would refuse."""

    slug: str
    name: str
    service_class: ServiceClass
    terms: dict[str, Any]
    shadow: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Promise:
    """One tenant's entitlement in one pool, and how the tenant asks there. ``cap`` 0: what the tier gives."""

    pool: str
    tier: str
    base: int
    cap: int
    habit: Habit


@dataclass(frozen=True, slots=True)
class TenantPlan:
    """A tenant with its promises."""

    slug: str
    name: str
    promises: tuple[Promise, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """A login. ``names`` begins its lines in demo.env; ``tenant`` "" for people of the platform."""

    names: str
    email: str
    platform: PlatformRole = PlatformRole.NONE
    tenant: str = ""
    role: TenantRole = TenantRole.VIEWER


QUICK_DOWN = {"down_window_s": 45, "down_pause_s": 30}
"""The demo's days are minutes long, so 45 quiet seconds let a replica go (an installation waits five minutes)."""

POOLS = (
    PoolPlan("chat", "Chat 8B", 3, 8.0, {"scaling": QUICK_DOWN}),
    PoolPlan("code", "Code 8B", 3, 12.0, {"scaling": QUICK_DOWN}),
)

_PRICE = {"price_input_micro": 200_000, "price_output_micro": 600_000}
_ROOMY = {"default_max_tokens": 128, "largest_max_tokens": 1024}
TIERS = (
    TierPlan(
        "dedicated-core",
        "Dedicated Core",
        ServiceClass.DEDICATED,
        {"slo_ms": 500, "fail_mode": FailMode.OPEN.value, **_ROOMY, **_PRICE},
    ),
    TierPlan(
        "guaranteed-standard",
        "Guaranteed Standard",
        ServiceClass.GUARANTEED,
        {"slo_ms": 1000, "fail_mode": FailMode.OPEN.value, **_ROOMY, **_PRICE},
    ),
    TierPlan(
        "elastic-gold",
        "Elastic Gold",
        ServiceClass.ELASTIC,
        {"slo_ms": 500, "hold_ms": 125, **_ROOMY, **_PRICE},
        {name: Decimal("1.5") for name in ("burst_tokens", "burst_kv", "burst_concurrency")},
    ),
    TierPlan(
        "elastic-silver",
        "Elastic Silver",
        ServiceClass.ELASTIC,
        {"slo_ms": 5000, "hold_ms": 250, **_ROOMY, **_PRICE},
    ),
    TierPlan("spot-basic", "Spot", ServiceClass.SPOT, {"slo_ms": 10_000, **_ROOMY, **_PRICE}),
    TierPlan("batch-preemptible", "Batch", ServiceClass.PREEMPTIBLE, {"slo_ms": 30_000, **_ROOMY, **_PRICE}),
)

CHAT, ANSWER = Lengths(85, 0.72, 700), Lengths(34, 0.76, 320)
LONG, SHORT, TALE = Lengths(500, 0.4, 950), Lengths(24, 0.6, 160), Lengths(110, 0.5, 480)


def _ask(rate: float, phase: float, prompt: Lengths = CHAT, output: Lengths = ANSWER, **more: Any) -> Habit:
    return Habit(rate, prompt, output, day_s=DAY_S, phase=phase, **more)


TENANTS = (
    TenantPlan(
        "northwind-bank",
        "Northwind Bank",
        (Promise("chat", "dedicated-core", 4, 0, _ask(0.75, 0.95, rush=Rush(100, 200, 20, 1.8))),),
    ),
    TenantPlan(
        "helios-health",
        "Helios Health",
        (Promise("chat", "guaranteed-standard", 3, 0, _ask(0.4, 0.1, variation=1.1)),),
    ),
    TenantPlan(
        "atlas-retail",
        "Atlas Retail",
        (Promise("chat", "elastic-gold", 3, 0, _ask(1.2, 0.92, swing=0.95, rush=Rush(45, 160, 25, 1.8))),),
    ),
    TenantPlan("birch-media", "Birch Media", (Promise("chat", "elastic-silver", 2, 0, _ask(0.6, 0.95, swing=0.95)),)),
    TenantPlan(
        "comet-labs",
        "Comet Labs",
        (
            Promise("chat", "spot-basic", 0, 8, _ask(0.9, 0.2, variation=1.3)),
            Promise("code", "spot-basic", 0, 6, _ask(0.6, 0.7, variation=1.3)),
        ),
    ),
    TenantPlan(
        "delta-research",
        "Delta Research",
        (
            Promise("chat", "batch-preemptible", 0, 10, _ask(0.5, 0.5, output=TALE, swing=0.2, stream=0.5)),
            Promise("code", "batch-preemptible", 0, 8, _ask(0.4, 0.0, output=TALE, swing=0.2, stream=0.5)),
        ),
    ),
    TenantPlan(
        "ember-games",
        "Ember Games",
        (Promise("code", "guaranteed-standard", 4, 0, _ask(0.6, 0.45, variation=1.1)),),
    ),
    TenantPlan(
        "fjord-logistics",
        "Fjord Logistics",
        (Promise("code", "elastic-gold", 3, 0, _ask(1.2, 0.5, swing=0.95, rush=Rush(150, 200, 25, 1.7))),),
    ),
    TenantPlan(
        "grove-education",
        "Grove Education",
        (Promise("code", "elastic-silver", 3, 0, _ask(1.5, 0.45, prompt=LONG, output=SHORT, swing=0.95)),),
    ),
)

PEOPLE = (
    Person("OPERATOR", "operator@demo.example", PlatformRole.OPERATOR),
    Person("ADMIN", "admin@demo.example", PlatformRole.ADMIN),
    Person("AUDITOR", "auditor@demo.example", PlatformRole.AUDITOR),
    Person("TENANT", "lead@atlas-retail.example", tenant="atlas-retail", role=TenantRole.ADMIN),
    Person("TENANT_2", "dev@northwind-bank.example", tenant="northwind-bank", role=TenantRole.ADMIN),
    Person("TENANT_3", "dev@comet-labs.example", tenant="comet-labs", role=TenantRole.MEMBER),
    Person("VIEWER", "guest@atlas-retail.example", tenant="atlas-retail", role=TenantRole.VIEWER),
)

_KEYS_BY_CLASS = {
    ServiceClass.DEDICATED: "northwind-bank",
    ServiceClass.GUARANTEED: "helios-health",
    ServiceClass.ELASTIC: "atlas-retail",
    ServiceClass.SPOT: "comet-labs",
    ServiceClass.PREEMPTIBLE: "delta-research",
}


@dataclass(frozen=True, slots=True)
class Cast:
    """A whole world. ``keys_by_class``: whose key demo.env shows for each class; all of them serve the first pool."""

    pools: tuple[PoolPlan, ...]
    tiers: tuple[TierPlan, ...]
    tenants: tuple[TenantPlan, ...]
    people: tuple[Person, ...] = ()
    keys_by_class: Mapping[ServiceClass, str] = field(default_factory=dict)


DEMO = Cast(POOLS, TIERS, TENANTS, PEOPLE, _KEYS_BY_CLASS)


def model_of(pool: str) -> str:
    """What clients put into the model field for a pool of the demo."""
    return f"{pool}-8b"
