"""Pools: what exists, how many replicas there may be, how they scale; made, changed, put away and brought back.

Profiles are in ``profiles``, manual numbers of replicas in ``overrides``, taking a deed back in ``pool_undo``.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from pools.choices import EntitlementState
from pools.models import Endpoint, Entitlement, EntitlementRequest, Pool
from pools.models.requests import RequestState
from pools.services.ceiling import ceiling_check
from pools.services.documents import pool_publish, pools_publish
from pools.services.pool_rows import MOST_REPLICAS, PoolDeed, pool_check, pool_locked
from pools.services.preview_state import pool_token_check
from pools.services.profiles import ProfileInput, pool_profile_publish, profile_again, profile_reweighed
from pools.services.promises import promises_check, provision_of
from pools.services.supply import ready_rates
from portal.accounts.services import slug_check
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

__all__ = [
    "CHANGEABLE",
    "MOST_REPLICAS",
    "ProfileInput",
    "pool_archive",
    "pool_change",
    "pool_create",
    "pool_locked",
    "pool_profile_publish",
    "pool_restore",
]
CHANGEABLE = (
    "name",
    "min_replicas",
    "max_replicas",
    "scaling_mode",
    "accelerators_per_replica",
    "oversubscription",
    "elastic_share",
    "spot_share",
    "fill",
    "weight_input",
    "weight_output",
    "bytes_per_token",
    "lease_ms",
    "tokenize",
    "alpha_slo",
    "alpha_burst",
    "alpha_debt",
    "provider_config",
)
WEIGHTS = ("weight_input", "weight_output")
PROVISIONING = ("max_replicas", "oversubscription", *WEIGHTS)
RESERVED_SLUGS = ("new",)
"""Words of our own addresses."""


@recorded()
def pool_create(
    *,
    actor: Actor,
    now: datetime,
    slug: str,
    name: str,
    model_name: str,
    upstream_model: str = "",
    provider: str = "process",
    profile: ProfileInput | None = None,
    reason: str = "",
    **options: Any,
) -> Pool:
    """A new pool, with its first capacity profile when given. ``options``: see ``CHANGEABLE``.

    Raises DomainError ``slug_taken``, ``bad_slug``, ``bad_pool`` (field sentences), ``bad_profile``,
    ``ceiling_reached``.
    """
    slug_check(slug, "pool")
    if slug.lower() in RESERVED_SLUGS:
        sentence = f"A pool cannot have the slug {slug!r}, which is part of an address of the portal; choose another."
        raise DomainError("bad_slug", sentence, fields={"slug": sentence})
    pool = Pool(
        slug=slug,
        name=name or slug,
        model_name=model_name,
        upstream_model=upstream_model or model_name,
        provider=provider,
        created_at=now,
        **{key: options[key] for key in CHANGEABLE if key in options},
    )
    if unknown := set(options) - set(CHANGEABLE):
        raise DomainError("bad_pool", f"A pool has no {', '.join(sorted(unknown))}.")
    pool.wanted_replicas = pool.min_replicas
    pool_check(pool)
    ceiling_check(pool.name, 0, accelerators(pool), "min_replicas")
    _insert(pool)
    after = {"slug": slug, "model_name": model_name, "provider": provider, **options}
    audit_record(actor=actor, verb="pool_create", target=pool, before={}, after=after, reason=reason, now=now)
    if profile is not None:
        pool_profile_publish(actor=actor, now=now, pool_id=pool.pk, profile=profile, reason=reason)
        pool.refresh_from_db()
    return pool


def _insert(pool: Pool) -> None:
    try:
        with transaction.atomic():
            pool.save(force_insert=True)
    except IntegrityError:
        taken = Pool.objects.filter(slug=pool.slug).exists()
        field, value = ("slug", pool.slug) if taken else ("model_name", pool.model_name)
        what = "the slug" if taken else "clients that ask for the model"
        sentence = f"There is a pool with {what} {value!r} already (archived ones count); choose another."
        raise DomainError("slug_taken", sentence, status=409, fields={field: sentence}) from None


@recorded()
def pool_change(
    *,
    actor: Actor,
    now: datetime,
    pool_id: int,
    changes: Mapping[str, Any],
    reason: str = "",
    preview_token: str | None = None,
) -> PoolDeed:
    """Changes settings of a pool (``CHANGEABLE``). ``preview_token``: refuse unless these changes were previewed on the
    state as it is now (``preview_state``).

    Other weights make a new capacity profile version, for its tokens per second are counted in them. Raises DomainError
    ``not_found``, ``bad_pool``, ``promises_broken``, ``ceiling_reached``, ``mixed_profiles``, ``preview_stale``,
    ``preview_missing``.
    """
    pool = pool_locked(pool_id)
    old = copy(pool)
    if unknown := set(changes) - set(CHANGEABLE):
        raise DomainError("bad_pool", f"These cannot be changed: {', '.join(sorted(unknown))}.")
    before = {key: getattr(pool, key) for key in changes}
    if before == dict(changes):
        return PoolDeed(pool, None)
    changed_apply(pool, changes)
    pool_check(pool, provider=bool({"provider_config", "max_replicas"} & set(changes)))
    change_check(old, pool, changes, now)
    pool_token_check(preview_token, pool_id, "settings", dict(changes))
    pool.save(update_fields=[*changes, "wanted_replicas"])
    record = audit_record(
        actor=actor, verb="pool_change", target=pool, before=before, after=dict(changes), reason=reason, now=now
    )
    if set(changes) & set(WEIGHTS) and pool.current_profile is not None:
        profile_again(actor=actor, now=now, pool=pool, reason=reason or "Other weights of tokens.")
    transaction.on_commit(lambda: pool_publish(pool_id, now), robust=True)
    return PoolDeed(pool, record)


def changed_apply(pool: Pool, changes: Mapping[str, Any]) -> Pool:
    """Sets the fields and what follows from them on the instance, which is not saved."""
    for key, value in changes.items():
        setattr(pool, key, value)
    if pool.manual_replicas is None:
        pool.wanted_replicas = min(max(pool.wanted_replicas, pool.min_replicas), pool.max_replicas)
    else:
        pool.wanted_replicas = min(pool.wanted_replicas, pool.max_replicas)
    return pool


def accelerators(pool: Pool) -> int:
    """What a pool wants of them."""
    return pool.wanted_replicas * pool.accelerators_per_replica


def change_check(old: Pool, new: Pool, changes: Mapping[str, Any], now: datetime) -> None:
    """Raises what a change from ``old`` to ``new`` is refused with: ``promises_broken``, ``ceiling_reached``."""
    if any(name in changes for name in PROVISIONING):
        ready = ready_rates(new.pk)
        field = next(name for name in PROVISIONING if name in changes)
        said = " and ".join(f"{name} {changes[name]:,}" for name in PROVISIONING if name in changes)
        weighed = bool(set(changes) & set(WEIGHTS))
        after = provision_of(profile_reweighed(new) if weighed else new, ready, all_new=weighed)
        promises_check(new.pk, provision_of(old, ready), after, field, f"With {said} the promises", now)
    field = "accelerators_per_replica" if "accelerators_per_replica" in changes else "min_replicas"
    ceiling_check(new.name, accelerators(old), accelerators(new), field)


def archive_hindrances(pool: Pool) -> list[str]:
    """Why a pool cannot be put away now, a sentence each; empty when it can. Two queries."""
    living = Entitlement.objects.filter(pool=pool).exclude(state=EntitlementState.EXPIRED.value)
    names = list(living.order_by("tenant__slug").values_list("tenant__name", flat=True)[:4])
    found = []
    if names:
        count = living.count() if len(names) > 3 else len(names)
        others = f" and {count - 3} more" if count > 3 else ""
        promised = "1 entitlement lives" if count == 1 else f"{count:,} entitlements live"
        found.append(f"{promised} in it ({', '.join(names[:3])}{others}): end or move them first.")
    if asked := EntitlementRequest.objects.filter(pool=pool, state=RequestState.OPEN).count():
        wait = "1 request for more waits" if asked == 1 else f"{asked} requests for more wait"
        found.append(f"{wait} for a decision: approve elsewhere or deny first.")
    return found


@recorded()
def pool_archive(*, actor: Actor, now: datetime, pool_id: int, reason: str = "") -> PoolDeed:
    """Puts a pool away: it takes no promise, its endpoints drain and stop, its history stays; it can be restored.

    Raises DomainError ``not_found``, ``pool_in_use`` while entitlements live in it or requests for it are open.
    """
    pool = pool_locked(pool_id)
    if hindrances := archive_hindrances(pool):
        raise DomainError("pool_in_use", f"{pool.name} cannot be archived. {' '.join(hindrances)}", status=409)
    before = {
        "archived_at": None,
        "wanted_replicas": pool.wanted_replicas,
        "manual_replicas": pool.manual_replicas,
        "manual_until": pool.manual_until,
    }
    pool.archived_at, pool.wanted_replicas = now, 0
    pool.manual_replicas = pool.manual_until = None
    pool.save(update_fields=list(before))
    after = {**{name: getattr(pool, name) for name in before}, "endpoints": _living_names(pool)}
    record = audit_record(
        actor=actor, verb="pool_archive", target=pool, before=before, after=after, reason=reason, now=now
    )
    transaction.on_commit(pools_publish, robust=True)
    return PoolDeed(pool, record)


@recorded()
def pool_restore(*, actor: Actor, now: datetime, pool_id: int, reason: str = "") -> PoolDeed:
    """Brings an archived pool back; its smallest number of replicas is started.

    Raises DomainError ``not_found``, ``ceiling_reached``.
    """
    pool = pool_locked(pool_id, archived=True)
    before = {"archived_at": pool.archived_at, "wanted_replicas": pool.wanted_replicas}
    pool.archived_at, pool.wanted_replicas = None, pool.min_replicas
    ceiling_check(pool.name, 0, accelerators(pool), "min_replicas")
    pool.save(update_fields=list(before))
    after = {name: getattr(pool, name) for name in before}
    record = audit_record(
        actor=actor, verb="pool_restore", target=pool, before=before, after=after, reason=reason, now=now
    )
    transaction.on_commit(lambda: pool_publish(pool_id, now), robust=True)
    return PoolDeed(pool, record)


def _living_names(pool: Pool) -> list[str]:
    gone = ("stopped", "failed")
    return list(Endpoint.objects.filter(pool=pool).exclude(state__in=gone).values_list("name", flat=True)[:100])
