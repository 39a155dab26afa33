"""Make the demo world through the services. Everything is looked for by its slug first, so that twice is once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from pools.mechanism.amounts import Rate
from pools.models import Entitlement, Pool, Tier
from pools.services.alert_rules import alert_rules_recommend
from pools.services.entitlements import entitlement_create
from pools.services.keys import key_create, key_revoke
from pools.services.pools import pool_create
from pools.services.tenants import membership_set, tenant_create
from pools.services.tier_shadow import tier_shadow_start
from pools.services.tiers import TierTerms, tier_create
from pools.simulator.senders import Sender, read_senders, write_senders
from portal.accounts.models import ApiKey, Tenant, User
from portal.audit.models import Source
from portal.audit.services import Actor
from portal.demo import cast, secrets
from portal.demo.cast import Cast
from portal.lib.errors import DomainError
from portal.lib.secrets import key_digest

ACTOR = Actor(None, Source.COMMAND, "demo")
KEY_NAME = "demo"


@dataclass(frozen=True, slots=True)
class Made:
    """How many of each were made now; ``skipped`` when the installation has a world of its own."""

    pools: int = 0
    tiers: int = 0
    tenants: int = 0
    entitlements: int = 0
    people: int = 0
    keys: int = 0
    skipped: bool = False


def world_make(var_dir: Path, now: datetime, world: Cast = cast.DEMO) -> Made:
    """Fills an empty installation, or completes a world begun before. Leaves any other installation alone.

    Raises DomainError when a service refuses.
    """
    slugs = {plan.slug for plan in world.pools}
    if Pool.objects.exclude(slug__in=slugs).exists():
        return Made(skipped=True)
    with transaction.atomic():
        pools = sum(_pool(plan, now) for plan in world.pools)
        tiers = sum(_tier(plan, now) for plan in world.tiers)
        tenants = sum(_tenant(plan, now) for plan in world.tenants)
        entitlements = sum(_entitlement(plan, promise, now) for plan in world.tenants for promise in plan.promises)
        if pools:
            alert_rules_recommend(actor=ACTOR, now=now, reason="The demo world.")
    people = _people(world, var_dir, now)
    keys = _keys(world, var_dir, now)
    return Made(pools, tiers, tenants, entitlements, people, keys)


def _pool(plan: cast.PoolPlan, now: datetime) -> bool:
    if Pool.objects.filter(slug=plan.slug).exists():
        return False
    pool_create(
        actor=ACTOR,
        now=now,
        slug=plan.slug,
        name=plan.name,
        model_name=cast.model_of(plan.slug),
        provider="process",
        profile=plan.replica,
        min_replicas=1,
        max_replicas=plan.most,
        provider_config={"cold_start_s": plan.cold_start_s, **plan.options},
        reason="The demo world.",
    )
    return True


def _tier(plan: cast.TierPlan, now: datetime) -> bool:
    if Tier.objects.filter(slug=plan.slug).exists():
        return False
    terms = TierTerms.of_class(plan.service_class, **plan.terms)
    made = tier_create(
        actor=ACTOR,
        now=now,
        slug=plan.slug,
        name=plan.name,
        service_class=plan.service_class,
        terms=terms,
        reason="The demo world.",
    )
    if plan.shadow:
        watched = replace(terms, **plan.shadow)
        reason = "Would a smaller burst be enough?"
        tier_shadow_start(actor=ACTOR, now=now, tier_id=made.pk, terms=watched, reason=reason)
    return True


def _tenant(plan: cast.TenantPlan, now: datetime) -> bool:
    if Tenant.objects.filter(slug=plan.slug).exists():
        return False
    tenant_create(actor=ACTOR, now=now, slug=plan.slug, name=plan.name, reason="The demo world.")
    return True


def _entitlement(plan: cast.TenantPlan, promise: cast.Promise, now: datetime) -> bool:
    tenant = Tenant.objects.get(slug=plan.slug)
    pool = Pool.objects.select_related("current_profile").get(slug=promise.pool)
    if Entitlement.objects.filter(tenant=tenant, pool=pool).exists():
        return False
    entitlement_create(
        actor=ACTOR,
        now=now,
        tenant=tenant,
        pool=pool,
        tier=Tier.objects.get(slug=promise.tier),
        base=_slots(pool, promise.base),
        cap=_slots(pool, promise.cap).as_tuple() if promise.cap else (None, None, None),
        reason="The demo world.",
    )
    return True


def _slots(pool: Pool, count: int) -> Rate:
    """So many slots of a replica with their share of its tokens/s and KV bytes."""
    profile = pool.current_profile
    assert profile is not None
    return Rate(
        profile.tokens_per_second * count // profile.concurrency,
        profile.kv_bytes * count // profile.concurrency,
        count,
    )


def _people(world: Cast, var_dir: Path, now: datetime) -> int:
    """Logins; a password that demo.env has lost is made anew, for nobody else knows it."""
    known = secrets.known(var_dir)
    fresh: dict[str, str] = {}
    made = 0
    for person in world.people:
        name = f"{person.names}_PASSWORD"
        user = User.objects.filter(email=person.email).first()
        if user is not None and known.get(name):
            continue
        password = secrets.new_password()
        if user is None:
            user = User.objects.create_user(person.email, password, platform_role=person.platform)
            made += 1
        else:
            user.set_password(password)
            user.save(update_fields=["password"])
        if person.tenant:
            tenant = Tenant.objects.get(slug=person.tenant)
            membership_set(actor=ACTOR, now=now, tenant=tenant, user=user, role=person.role, reason="The demo world.")
        fresh |= {f"{person.names}_EMAIL": person.email, name: password}
    if fresh:
        secrets.keep(var_dir, fresh)
    return made


def _keys(world: Cast, var_dir: Path, now: datetime) -> int:
    """One key per tenant; one whose plaintext is lost is revoked and made anew."""
    plain = _plaintexts(secrets.key_file(var_dir))
    made = 0
    for plan in world.tenants:
        tenant = Tenant.objects.get(slug=plan.slug)
        text = plain.get(plan.slug, "")
        usable = ApiKey.objects.filter(tenant=tenant, name=KEY_NAME, revoked_at__isnull=True)
        if text and usable.filter(digest=key_digest(text, settings.SECRET_KEY)).exists():
            continue
        for lost in usable:
            key_revoke(actor=ACTOR, now=now, key_id=lost.pk, reason="Its plaintext is lost.")
        plain[plan.slug] = key_create(actor=ACTOR, now=now, tenant=tenant, name=KEY_NAME).plaintext
        made += 1
    write_senders(secrets.key_file(var_dir), senders(world, plain))
    shown: dict[str, Any] = {
        f"KEY_{service_class.name}": plain[slug] for service_class, slug in world.keys_by_class.items()
    }
    secrets.keep(
        var_dir, {**shown, "MODEL": cast.model_of(world.pools[0].slug), "KEY_FILE": str(secrets.key_file(var_dir))}
    )
    return made


def _plaintexts(path: Path) -> dict[str, str]:
    try:
        return {sender.tenant: sender.key for sender in read_senders(path)}
    except DomainError:
        return {}


def senders(world: Cast, plain: dict[str, str]) -> list[Sender]:
    """Every tenant in every pool it may use; the share of unnamed trace requests follows its slots."""
    classes = {plan.slug: plan.service_class.value for plan in world.tiers}
    return [
        Sender(
            plain[plan.slug],
            plan.slug,
            classes[promise.tier],
            promise.pool,
            cast.model_of(promise.pool),
            float(promise.base or promise.cap / 2),
        )
        for plan in world.tenants
        for promise in plan.promises
    ]
