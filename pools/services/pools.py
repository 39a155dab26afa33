"""Pools and their capacity profiles: what exists, what one replica carries, how many there may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from pools.choices import ScalingMode
from pools.mechanism.capacity import ProfileError, ReplicaProfile, replica_rate
from pools.models import CapacityProfile, Pool
from pools.services.documents import pool_publish
from portal.accounts.services import slug_check
from portal.audit.services import Actor, audit_record
from portal.lib.errors import DomainError

MOST_REPLICAS = 10_000
MANUAL_LASTS = timedelta(hours=1)
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
    "bytes_per_token",
    "lease_ms",
    "tokenize",
    "alpha_slo",
    "alpha_burst",
    "alpha_debt",
    "provider_config",
)


@dataclass(frozen=True, slots=True)
class ProfileInput:
    """What an operator says of one replica; the three capacities follow from it (``pools.mechanism.capacity``)."""

    layers: int
    kv_heads: int
    head_dim: int
    num_gpu_blocks: int
    max_num_seqs: int
    context_length: int
    planned_context: int
    prefill_tokens_per_second: float
    itl_base_ms: float
    itl_per_sequence_ms: float
    mean_input_tokens: float
    mean_output_tokens: float
    bytes_per_element: int = 2
    block_tokens: int = 16
    measured_tokens_per_second: int | None = None
    accelerator: str = ""


_PROFILE_FIELDS = {
    "kv_blocks": "num_gpu_blocks",
    "max_sequences": "max_num_seqs",
    "planned_context_tokens": "planned_context",
    "itl_alpha_ms": "itl_base_ms",
    "itl_beta_ms": "itl_per_sequence_ms",
}
"""The mechanism's names → ours, for problems found there."""


@transaction.atomic
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
    weight_input: int = 1,
    weight_output: int = 1,
    reason: str = "",
    **options: Any,
) -> Pool:
    """A new pool, with its first capacity profile when given. ``options``: see ``CHANGEABLE``.

    Raises DomainError ``slug_taken``, ``bad_slug``, ``bad_pool`` (field sentences), ``bad_profile``.
    """
    slug_check(slug, "pool")
    pool = Pool(
        slug=slug,
        name=name or slug,
        model_name=model_name,
        upstream_model=upstream_model or model_name,
        provider=provider,
        weight_input=weight_input,
        weight_output=weight_output,
        created_at=now,
        **{key: options[key] for key in CHANGEABLE if key in options},
    )
    if unknown := set(options) - set(CHANGEABLE):
        raise DomainError("bad_pool", f"A pool has no {', '.join(sorted(unknown))}.")
    pool.wanted_replicas = pool.min_replicas
    _pool_check(pool)
    try:
        with transaction.atomic():
            pool.save(force_insert=True)
    except IntegrityError:
        sentence = f"There is a pool {slug!r} or a pool of model {model_name!r} already; choose other names."
        raise DomainError("slug_taken", sentence, status=409, fields={"slug": sentence}) from None
    after = {"slug": slug, "model_name": model_name, "provider": provider, **options}
    audit_record(actor=actor, verb="pool_create", target=pool, before={}, after=after, reason=reason, now=now)
    if profile is not None:
        pool_profile_publish(actor=actor, now=now, pool_id=pool.pk, profile=profile, reason=reason)
        pool.refresh_from_db()
    return pool


@transaction.atomic
def pool_change(*, actor: Actor, now: datetime, pool_id: int, changes: Mapping[str, Any], reason: str = "") -> Pool:
    """Changes settings of a pool (``CHANGEABLE``). Raises DomainError ``not_found``, ``bad_pool``."""
    pool = pool_locked(pool_id)
    if unknown := set(changes) - set(CHANGEABLE):
        raise DomainError("bad_pool", f"These cannot be changed: {', '.join(sorted(unknown))}.")
    before = {key: getattr(pool, key) for key in changes}
    if before == dict(changes):
        return pool
    for key, value in changes.items():
        setattr(pool, key, value)
    pool.wanted_replicas = min(max(pool.wanted_replicas, pool.min_replicas), pool.max_replicas)
    _pool_check(pool)
    pool.save(update_fields=[*changes, "wanted_replicas"])
    audit_record(
        actor=actor, verb="pool_change", target=pool, before=before, after=dict(changes), reason=reason, now=now
    )
    transaction.on_commit(lambda: pool_publish(pool_id, now), robust=True)
    return pool


@transaction.atomic
def pool_profile_publish(
    *, actor: Actor, now: datetime, pool_id: int, profile: ProfileInput, reason: str = ""
) -> CapacityProfile:
    """A new version of what one replica carries; replicas that become ready from now on count with it.

    Raises DomainError ``not_found``, ``bad_profile`` with a sentence for every wrong field.
    """
    pool = pool_locked(pool_id)
    try:
        planned = _replica_profile(pool, profile)
    except ProfileError as error:
        problems = {_PROFILE_FIELDS.get(key, key): sentence for key, sentence in error.problems.items()}
        raise DomainError("bad_profile", " ".join(problems.values()), fields=problems) from None
    if profile.context_length < profile.planned_context:
        sentence = f"The planned context {profile.planned_context} is longer than the context {profile.context_length}."
        raise DomainError("bad_profile", sentence, fields={"planned_context": sentence})
    rate = replica_rate(planned)
    if min(rate.as_tuple()) < 1:
        sentence = f"One replica would carry {rate.as_tuple()}: every dimension must be 1 or more."
        raise DomainError("bad_profile", sentence, fields={"num_gpu_blocks": sentence})
    before = pool.current_profile
    version = CapacityProfile.objects.create(
        pool=pool,
        version=before.version + 1 if before else 1,
        kv_bytes_per_token=planned.bytes_per_token,
        tokens_per_second=rate.tokens_per_second,
        kv_bytes=rate.kv_bytes,
        concurrency=rate.concurrency,
        author_label=actor.name[:254],
        reason=reason,
        created_at=now,
        **asdict(profile),
    )
    pool.current_profile = version
    pool.save(update_fields=["current_profile"])
    audit_record(
        actor=actor,
        verb="pool_profile_publish",
        target=pool,
        before={"version": before.version} if before else {},
        after={"version": version.version, "replica": rate.as_tuple(), **asdict(profile)},
        reason=reason,
        now=now,
    )
    transaction.on_commit(lambda: pool_publish(pool_id, now), robust=True)
    return version


@transaction.atomic
def pool_set_replicas(
    *,
    actor: Actor,
    now: datetime,
    pool_id: int,
    replicas: int | None,
    lasts: timedelta | None = MANUAL_LASTS,
    reason: str = "",
) -> Pool:
    """Holds a pool at a number of replicas, whatever the autoscaler thinks, for ``lasts`` (None: until lifted).

    ``replicas`` None lifts the override. Raises DomainError ``not_found``, ``bad_replicas``.
    """
    pool = pool_locked(pool_id)
    if replicas is not None and not 0 <= replicas <= pool.max_replicas:
        sentence = f"{pool.name} has 0 to {pool.max_replicas} replicas, got {replicas}; raise max_replicas first."
        raise DomainError("bad_replicas", sentence, fields={"replicas": sentence})
    before = {"manual_replicas": pool.manual_replicas, "wanted_replicas": pool.wanted_replicas}
    pool.manual_replicas = replicas
    pool.manual_until = now + lasts if replicas is not None and lasts is not None else None
    if replicas is not None:
        pool.wanted_replicas = replicas
    pool.save(update_fields=["manual_replicas", "manual_until", "wanted_replicas"])
    after = {"manual_replicas": replicas, "manual_until": pool.manual_until, "wanted_replicas": pool.wanted_replicas}
    audit_record(actor=actor, verb="pool_set_replicas", target=pool, before=before, after=after, reason=reason, now=now)
    return pool


def pool_locked(pool_id: int) -> Pool:
    """The pool row under a lock until the transaction ends. Raises DomainError ``not_found``."""
    pool = Pool.objects.select_for_update(no_key=True).filter(pk=pool_id, archived_at__isnull=True).first()
    if pool is None:
        raise DomainError("not_found", f"There is no pool {pool_id}.", status=404)
    return pool


def _replica_profile(pool: Pool, profile: ProfileInput) -> ReplicaProfile:
    names = asdict(profile)
    del names["context_length"]
    theirs = {ours: name for name, ours in _PROFILE_FIELDS.items()}
    return ReplicaProfile(
        **{theirs.get(key, key): value for key, value in names.items()},
        weight_input=pool.weight_input,
        weight_output=pool.weight_output,
        model=pool.model_name,
    )


def _pool_check(pool: Pool) -> None:
    problems: dict[str, str] = {}
    try:
        pool.clean_fields()
    except ValidationError as error:
        problems = {key: f"{key}: {' '.join(messages)}" for key, messages in error.message_dict.items()}
    if pool.scaling_mode not in list(ScalingMode):
        problems["scaling_mode"] = f"scaling_mode is one of {', '.join(ScalingMode)}, got {pool.scaling_mode!r}."
    if pool.max_replicas > MOST_REPLICAS:
        problems["max_replicas"] = f"max_replicas is at most {MOST_REPLICAS:,}, got {pool.max_replicas:,}."
    if pool.min_replicas > pool.max_replicas:
        problems["min_replicas"] = f"min_replicas {pool.min_replicas} is above max_replicas {pool.max_replicas}."
    if not pool.weight_input + pool.weight_output:
        problems["weight_input"] = "At least one of weight_input and weight_output must be above 0."
    if problems:
        raise DomainError("bad_pool", " ".join(problems.values()), fields=problems)
