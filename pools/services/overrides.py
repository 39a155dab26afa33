"""A number of replicas by hand: it holds, whatever the autoscaler thinks, until its end or until it is lifted."""

from __future__ import annotations

from datetime import datetime, timedelta

from pools.models import Pool
from pools.services.ceiling import ceiling_check
from pools.services.pool_rows import PoolDeed, pool_locked
from pools.services.preview_state import pool_token_check
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

MANUAL_LASTS = timedelta(hours=1)
LONGEST_MANUAL = timedelta(days=30)
MANUAL_FIELDS = ("manual_replicas", "manual_until", "manual_reason", "manual_by", "wanted_replicas")


@recorded()
def pool_set_replicas(
    *,
    actor: Actor,
    now: datetime,
    pool_id: int,
    replicas: int | None,
    lasts: timedelta | None = MANUAL_LASTS,
    reason: str = "",
    preview_token: str | None = None,
) -> PoolDeed:
    """Holds a pool at a number of replicas for ``lasts`` (None: until lifted); ``replicas`` None lifts the override.
    ``preview_token``: refuse unless that number was previewed on the state as it is now (``preview_state``).

    Raises DomainError ``not_found``, ``bad_replicas``, ``bad_duration``, ``ceiling_reached``, ``preview_stale``,
    ``preview_missing``.
    """
    pool = pool_locked(pool_id)
    if replicas is not None and not 0 <= replicas <= pool.max_replicas:
        sentence = f"{pool.name} has 0 to {pool.max_replicas:,} replicas, got {replicas:,}; raise max_replicas first."
        raise DomainError("bad_replicas", sentence, fields={"replicas": sentence})
    if lasts is not None and not timedelta(0) < lasts <= LONGEST_MANUAL:
        sentence = f"An override lasts up to {LONGEST_MANUAL.days} days, got {lasts}; or until somebody lifts it."
        raise DomainError("bad_duration", sentence, fields={"lasts": sentence})
    if replicas is not None:
        each = pool.accelerators_per_replica
        ceiling_check(pool.name, pool.wanted_replicas * each, replicas * each, "replicas")
    pool_token_check(preview_token, pool_id, "hold", replicas)
    until = now + lasts if replicas is not None and lasts is not None else None
    return manual_write(actor, now, pool, replicas, until, reason, actor.name if replicas is not None else "")


def manual_write(
    actor: Actor, now: datetime, pool: Pool, replicas: int | None, until: datetime | None, reason: str, by: str
) -> PoolDeed:
    """Writes the override (or its absence) and its record; the caller holds the lock and has checked."""
    before = {name: getattr(pool, name) for name in MANUAL_FIELDS}
    pool.manual_replicas, pool.manual_until = replicas, until
    pool.manual_reason, pool.manual_by = (reason[:300], by[:254]) if replicas is not None else ("", "")
    if replicas is not None:
        pool.wanted_replicas = replicas
    else:  # back between the bounds; from there the autoscaler goes on
        pool.wanted_replicas = min(max(pool.wanted_replicas, pool.min_replicas), pool.max_replicas)
    pool.save(update_fields=list(MANUAL_FIELDS))
    after = {name: getattr(pool, name) for name in MANUAL_FIELDS}
    record = audit_record(
        actor=actor, verb="pool_set_replicas", target=pool, before=before, after=after, reason=reason, now=now
    )
    return PoolDeed(pool, record)
