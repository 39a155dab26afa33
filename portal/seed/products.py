"""What is sold and where: tiers with a history of versions, pools with capacity profiles. Pools get their numbers of
replicas later, from what was promised in them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pools.choices import FailMode, ScalingMode, ServiceClass
from pools.mechanism.capacity import ReplicaProfile, replica_rate
from pools.models import CapacityProfile, Pool, Tier, TierVersion
from pools.models.tiers import VersionStatus
from pools.services.tier_terms import TierTerms
from portal.lib.copying import copy_models, ids_take
from portal.seed.names import REASONS, pool_names

AUTHOR = "seed"


@dataclass(frozen=True, slots=True)
class Shape:
    """A model on an accelerator, in round numbers."""

    slug: str
    name: str
    layers: int
    kv_heads: int
    blocks: int
    sequences: int
    context: int
    prefill: float
    itl_ms: float
    accelerators: int = 1


USES = (
    ("chat", "Chat"),
    ("code", "Code"),
    ("support", "Support"),
    ("legal", "Legal"),
    ("vision", "Vision"),
    ("search", "Search"),
    ("translate", "Translate"),
    ("agents", "Agents"),
)
KINDS = (
    Shape("8b", "8B", 32, 8, 30_000, 64, 16_384, 9000.0, 11.0),
    Shape("34b", "34B", 60, 8, 26_000, 48, 32_768, 4200.0, 22.0, 2),
    Shape("70b", "70B", 80, 8, 40_000, 64, 32_768, 3600.0, 28.0, 4),
)
SHAPES = tuple(
    replace(kind, slug=f"{use}-{kind.slug}", name=f"{label} {kind.name}") for use, label in USES for kind in KINDS
)
MODELS = tuple((shape.slug, shape.name) for shape in SHAPES)

PRODUCTS: tuple[tuple[str, str, ServiceClass, float, dict[str, Any]], ...] = (
    ("dedicated-core", "Dedicated Core", ServiceClass.DEDICATED, 3, {"slo_ms": 300, "fail_mode": FailMode.OPEN.value}),
    ("dedicated-plus", "Dedicated Plus ✨", ServiceClass.DEDICATED, 1, {"slo_ms": 200}),
    ("guaranteed", "Guaranteed", ServiceClass.GUARANTEED, 9, {"slo_ms": 1000}),
    (
        "guaranteed-night",
        "Guaranteed, nights lent",
        ServiceClass.GUARANTEED,
        3,
        {"slo_ms": 1500, "lendable_share": 0.9},
    ),
    ("elastic-gold", "Elastic Gold", ServiceClass.ELASTIC, 16, {"slo_ms": 500, "hold_ms": 125}),
    ("elastic-silver", "Elastic Silver", ServiceClass.ELASTIC, 18, {"slo_ms": 2000, "hold_ms": 200}),
    ("elastic-bronze", "Elastic Bronze", ServiceClass.ELASTIC, 12, {"slo_ms": 5000, "hold_ms": 250}),
    ("spot", "Spot", ServiceClass.SPOT, 20, {"slo_ms": 10_000}),
    ("spot-night", "Spot • نهاية الأسبوع", ServiceClass.SPOT, 6, {"slo_ms": 20_000}),
    ("batch", "Batch", ServiceClass.PREEMPTIBLE, 10, {"slo_ms": 30_000}),
    ("research", "Research leftovers", ServiceClass.PREEMPTIBLE, 2, {"slo_ms": 60_000}),
)
"""Slug, name, class, share of the entitlements, terms that differ from the class's own."""


def tiers_write(mark: str, dice: random.Random, now: datetime) -> list[Tier]:
    """Every tier with 2 to 8 versions, the last of them in force; one has a version in shadow, one a draft."""
    tiers, versions = [], []
    for (slug, name, kind, _, terms), identity in zip(PRODUCTS, ids_take(Tier, len(PRODUCTS)), strict=True):
        began = now - timedelta(days=420)
        tier = Tier(pk=identity, slug=mark + slug, name=name, service_class=kind.value, created_at=began)
        usual = TierTerms.of_class(kind, **terms, price_input_micro=200_000, price_output_micro=600_000)
        history = _versions(tier, usual, dice, now)
        if slug == "elastic-silver":
            history.append(_version(tier, replace(usual, class_weight=60.0), len(history) + 1, dice, now))
            history[-1].status = VersionStatus.SHADOW
        tiers.append(tier)
        versions.append(history)
    copy_models(tiers)
    copy_models([version for history in versions for version in history])
    for tier, history in zip(tiers, versions, strict=True):
        tier.current = [one for one in history if one.status == VersionStatus.PUBLISHED][-1]
        tier.shadow = next((one for one in history if one.status == VersionStatus.SHADOW), None)
        tier.save(update_fields=["current", "shadow"])
    return tiers


def _versions(tier: Tier, usual: TierTerms, dice: random.Random, now: datetime) -> list[TierVersion]:
    count = dice.randint(2, 8)
    found = []
    for number in range(1, count + 1):
        changed: dict[str, Any] = (
            {} if number == count else {"slo_ms": round(usual.slo_ms * dice.choice((0.5, 0.8, 1.25, 2)))}
        )
        at = now - timedelta(days=400 * (count - number + 1) / (count + 1), hours=dice.uniform(0, 20))
        found.append(_version(tier, replace(usual, **changed), number, dice, at))
    return found


def _version(tier: Tier, terms: TierTerms, number: int, dice: random.Random, at: datetime) -> TierVersion:
    return TierVersion(
        tier=tier,
        number=number,
        effective_from=at,
        created_at=at,
        author_label=AUTHOR,
        reason=dice.choice(REASONS) if number > 1 else "First version.",
        **asdict(terms),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A pool that is not written yet, with the versions of its capacity profile, oldest first."""

    pool: Pool
    profiles: list[CapacityProfile]

    @property
    def replica(self) -> CapacityProfile:
        """What one replica carries now."""
        return self.profiles[-1]


def places_make(mark: str, count: int, dice: random.Random, now: datetime) -> list[Place]:
    """So many pools. Advisory ones, oversubscribed ones and one held by hand are among them."""
    places = []
    for (slug, name, shape), identity in zip(pool_names(count, MODELS), ids_take(Pool, count), strict=True):
        pool = Pool(
            pk=identity,
            slug=mark + slug,
            name=name,
            model_name=mark + slug,
            upstream_model=SHAPES[shape].slug,
            provider="static",
            provider_config={"urls": []},
            scaling_mode=(ScalingMode.ADVISORY if dice.random() < 0.15 else ScalingMode.AUTOMATIC).value,
            accelerators_per_replica=SHAPES[shape].accelerators,
            oversubscription=1.25 if dice.random() < 0.1 else 1.0,
            fill="drf" if dice.random() < 0.05 else "dimension",
            created_at=now - timedelta(days=dice.randint(60, 500)),
        )
        places.append(Place(pool, _profiles(pool, SHAPES[shape], dice, now)))
    return places


def _profiles(pool: Pool, shape: Shape, dice: random.Random, now: datetime) -> list[CapacityProfile]:
    count = dice.choice((1, 1, 2, 3))
    return [
        _profile(pool, shape, number, 1.0 if number == count else dice.uniform(0.7, 1.2), now - timedelta(days=at))
        for number, at in enumerate(sorted((dice.uniform(1, 55) for _ in range(count)), reverse=True), 1)
    ]


def _profile(pool: Pool, shape: Shape, version: int, speed: float, at: datetime) -> CapacityProfile:
    planned = ReplicaProfile(
        layers=shape.layers,
        kv_heads=shape.kv_heads,
        head_dim=128,
        bytes_per_element=2,
        block_tokens=16,
        kv_blocks=shape.blocks,
        max_sequences=shape.sequences,
        planned_context_tokens=shape.context // 4,
        prefill_tokens_per_second=round(shape.prefill * speed, 1),
        itl_alpha_ms=round(shape.itl_ms / speed, 2),
        itl_beta_ms=0.12,
        mean_input_tokens=900.0,
        mean_output_tokens=260.0,
    )
    rate = replica_rate(planned)
    return CapacityProfile(
        pool=pool,
        version=version,
        accelerator="80 GB accelerator",
        layers=planned.layers,
        kv_heads=planned.kv_heads,
        head_dim=planned.head_dim,
        num_gpu_blocks=planned.kv_blocks,
        max_num_seqs=planned.max_sequences,
        context_length=shape.context,
        planned_context=planned.planned_context_tokens,
        prefill_tokens_per_second=planned.prefill_tokens_per_second,
        itl_base_ms=planned.itl_alpha_ms,
        itl_per_sequence_ms=planned.itl_beta_ms,
        mean_input_tokens=planned.mean_input_tokens,
        mean_output_tokens=planned.mean_output_tokens,
        kv_bytes_per_token=planned.bytes_per_token,
        tokens_per_second=rate.tokens_per_second,
        kv_bytes=rate.kv_bytes,
        concurrency=rate.concurrency,
        author_label=AUTHOR,
        reason="Measured again after the engine's upgrade." if version > 1 else "First profile.",
        created_at=at,
    )


def places_write(places: Sequence[Place]) -> None:
    """Pools, then their profiles, then which of these is in force."""
    copy_models([place.pool for place in places])
    copy_models([profile for place in places for profile in place.profiles])
    for place in places:
        place.pool.current_profile = place.replica
    Pool.objects.bulk_update([place.pool for place in places], ["current_profile"], batch_size=200)


def burst_of(tier: Tier) -> Decimal:
    """How far above its base an entitlement of a tier may go (all three dimensions alike)."""
    assert tier.current is not None
    return tier.current.burst_tokens
