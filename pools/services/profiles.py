"""Capacity profiles: what one replica carries, as versions that never change; a correction is a new one."""

from __future__ import annotations

from copy import copy
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from django.db import transaction

from pools.mechanism.amounts import Rate
from pools.mechanism.capacity import ProfileError, ReplicaProfile, replica_rate
from pools.models import CapacityProfile, Endpoint, Pool
from pools.services.documents import pool_publish
from pools.services.pool_rows import pool_locked
from pools.services.preview_state import pool_token_check
from pools.services.promises import promises_check, provision_of
from pools.services.supply import ready_rates
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

LIVING = ("pending", "starting", "ready", "draining")
MOST_CONTEXT = 10_000_000


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
MOST_WHOLE = 2**31 - 1


def profile_input(row: CapacityProfile) -> ProfileInput:
    """What was said of a stored version."""
    return ProfileInput(**{field.name: getattr(row, field.name) for field in fields(ProfileInput)})


def profile_checked(
    profile: ProfileInput, *, weight_input: int = 1, weight_output: int = 1, model: str = ""
) -> tuple[ReplicaProfile, Rate]:
    """The mechanism's profile and the capacity of one replica. Raises DomainError ``bad_profile`` with a sentence for
    every wrong field; writes nothing."""
    names = asdict(profile)
    del names["context_length"]
    theirs = {ours: name for name, ours in _PROFILE_FIELDS.items()}
    problems = {
        name: f"{name} is at most {MOST_WHOLE:,}, got {value:,}."
        for name, value in asdict(profile).items()
        if isinstance(value, int) and value > MOST_WHOLE
    }
    try:
        planned = ReplicaProfile(
            **{theirs.get(key, key): value for key, value in names.items()},
            weight_input=weight_input,
            weight_output=weight_output,
            model=model,
        )
    except ProfileError as error:
        problems |= {_PROFILE_FIELDS.get(key, key): _ours(sentence) for key, sentence in error.problems.items()}
    if profile.context_length < profile.planned_context:
        problems["planned_context"] = (
            f"The planned context {profile.planned_context:,} is longer than the context {profile.context_length:,}."
        )
    if problems:
        raise DomainError("bad_profile", " ".join(problems.values()), fields=problems)
    rate = replica_rate(planned)
    if min(rate.as_tuple()) < 1:
        sentence = f"One replica would carry {rate.as_tuple()}: every dimension must be 1 or more."
        raise DomainError("bad_profile", sentence, fields={"num_gpu_blocks": sentence})
    if rate.kv_bytes >= 2**62 or rate.tokens_per_second >= 2**62:
        sentence = "One replica would carry more than can be counted; check blocks and sizes."
        raise DomainError("bad_profile", sentence, fields={"num_gpu_blocks": sentence})
    return planned, rate


def _ours(sentence: str) -> str:
    for theirs, ours in _PROFILE_FIELDS.items():
        sentence = sentence.replace(theirs, ours)
    named = "_" in sentence.split(" ", 1)[0]
    return (sentence if named else sentence[:1].upper() + sentence[1:]) + ("" if sentence.endswith(".") else ".")


@recorded()
def pool_profile_publish(
    *,
    actor: Actor,
    now: datetime,
    pool_id: int,
    profile: ProfileInput,
    reason: str = "",
    running_too: bool = False,
    expected: int | None = None,
    break_promises: bool = False,
    preview_token: str | None = None,
) -> CapacityProfile:
    """A new version of what one replica carries; replicas that are started from now on count with it.

    ``running_too``: those that run count with it at once, because the figures were wrong and not the machines.
    ``expected`` is the version the author looked at; ``preview_token``: refuse unless this was previewed on the state
    as it is now (``preview_state``). A profile with which promises could not be kept even by every replica is refused
    unless ``break_promises``. Raises DomainError ``not_found``, ``bad_profile`` with a sentence for every wrong field,
    ``version_moved``, ``promises_broken``, ``preview_stale``, ``preview_missing``.
    """
    pool = pool_locked(pool_id)
    before = pool.current_profile
    if expected is not None and expected != (before.version if before else 0):
        newest = before.version if before else 0
        raise DomainError(
            "version_moved",
            f"Nothing was saved: v{newest} of {pool.name}'s profile was published while you edited v{expected}.",
            status=409,
        )
    _, rate = profile_checked(
        profile, weight_input=pool.weight_input, weight_output=pool.weight_output, model=pool.model_name
    )
    if before is not None and not break_promises:
        ready = ready_rates(pool_id)
        promises_check(
            pool_id,
            provision_of(pool, ready),
            provision_of(pool, ready, replica=rate, all_new=True),
            "break_promises",
            "With this profile the promises",
            now,
        )
    pool_token_check(preview_token, pool_id, "profile", previewed(profile, running_too))
    return _publish(actor, now, pool, profile, rate, reason, running_too)


def previewed(profile: ProfileInput, running_too: bool) -> list[Any]:
    """What a preview's token says of a new version."""
    return [asdict(profile), running_too]


def profile_reweighed(pool: Pool) -> Pool:
    """The pool (not saved) with its profile counted in its present weights; as it is when they did not change."""
    current = pool.current_profile
    if current is None:
        return pool
    _, rate = profile_checked(profile_input(current), weight_input=pool.weight_input, weight_output=pool.weight_output)
    if rate.tokens_per_second == current.tokens_per_second:
        return pool
    changed, profile = copy(pool), copy(current)
    profile.tokens_per_second = rate.tokens_per_second
    changed.current_profile = profile
    return changed


def profile_again(*, actor: Actor, now: datetime, pool: Pool, reason: str) -> CapacityProfile | None:
    """The same profile with the pool's present weights; running replicas count with it at once.

    Raises DomainError ``mixed_profiles`` while replicas of an older version run: theirs cannot be counted anew.
    """
    current = pool.current_profile
    if current is None:
        return None
    older = Endpoint.objects.filter(pool=pool, state__in=LIVING).exclude(profile=current).values_list("name", flat=True)
    if names := list(older[:3]):
        sentence = (
            f"{', '.join(names)} still run with an older capacity profile, whose tokens were counted with the old "
            "weights. Restart them first."
        )
        raise DomainError("mixed_profiles", sentence, status=409, fields={"weight_input": sentence})
    profile = profile_input(current)
    _, rate = profile_checked(
        profile, weight_input=pool.weight_input, weight_output=pool.weight_output, model=pool.model_name
    )
    return _publish(actor, now, pool, profile, rate, reason, True)


def _publish(
    actor: Actor, now: datetime, pool: Pool, profile: ProfileInput, rate: Rate, reason: str, running_too: bool
) -> CapacityProfile:
    before, pool_id = pool.current_profile, pool.pk
    version = CapacityProfile.objects.create(
        pool=pool,
        version=before.version + 1 if before else 1,
        kv_bytes_per_token=2 * profile.layers * profile.kv_heads * profile.head_dim * profile.bytes_per_element,
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
    running = Endpoint.objects.filter(pool=pool, state__in=LIVING)
    moved = running.update(profile=version) if running_too else 0
    audit_record(
        actor=actor,
        verb="pool_profile_publish",
        target=pool,
        before={"version": before.version} if before else {},
        after={
            "version": version.version,
            "replica": rate.as_tuple(),
            "running_replicas_recounted": moved,
            **asdict(profile),
        },
        reason=reason,
        now=now,
    )
    transaction.on_commit(lambda: pool_publish(pool_id, now), robust=True)
    return version
