"""A pool's row: under a lock, checked as a whole, and what a deed on it leaves behind."""

from __future__ import annotations

from typing import NamedTuple

from django.core.exceptions import ValidationError

from pools.choices import ScalingMode
from pools.models import Pool
from pools.services.provider_check import provider_problems
from portal.audit.models import AuditRecord
from portal.lib.errors import DomainError

MOST_REPLICAS = 10_000
MOST_WEIGHT = 1000


class PoolDeed(NamedTuple):
    """The pool after a deed, and the audit record by which the deed can be taken back (None: nothing was changed)."""

    pool: Pool
    record: AuditRecord | None

    @property
    def record_id(self) -> int:
        """Of the record, once the deed's transaction is done; 0 where nothing was changed."""
        return self.record.pk if self.record is not None else 0


def pool_locked(pool_id: int, *, archived: bool = False) -> Pool:
    """The pool row under a lock until the transaction ends. Raises DomainError ``not_found``."""
    rows = Pool.objects.select_for_update(no_key=True).filter(pk=pool_id, archived_at__isnull=not archived)
    pool = rows.first()
    if pool is None:
        raise DomainError("not_found", f"There is no pool {pool_id}.", status=404)
    return pool


def pool_check(pool: Pool, *, provider: bool = True) -> None:
    """Raises DomainError ``bad_pool`` with a sentence for every field that is wrong; ``provider``: its settings too."""
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
    if pool.accelerators_per_replica < 1:
        problems["accelerators_per_replica"] = "A replica needs 1 accelerator or more."
    for name in ("weight_input", "weight_output"):
        if getattr(pool, name) > MOST_WEIGHT:
            problems[name] = f"{name} is at most {MOST_WEIGHT:,}, got {getattr(pool, name):,}."
    if not pool.weight_input + pool.weight_output:
        problems["weight_input"] = "At least one of weight_input and weight_output must be above 0."
    if provider:
        problems |= provider_problems(pool.provider, pool.provider_config, pool.max_replicas)
    if problems:
        raise DomainError("bad_pool", " ".join(problems.values()), fields=problems)
