"""Would a pool that is changed still be able to keep what it promised, once everything it may start is ready?

The sum of promises never exceeds what can be provisioned: a change that breaks this is refused with the numbers, unless
it makes nothing worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pools.mechanism.amounts import Rate
from pools.mechanism.capacity import pool_capacity
from pools.mechanism.eviction import degrade
from pools.mechanism.lease import Promises, Triple, missing_words, shortfall
from pools.mechanism.ordering import ClassCode
from pools.mechanism.windows import moment_words, moments
from pools.models import Entitlement, Pool
from pools.services.amounts import NOTHING, lease_of, replica_of
from pools.services.spans import spans_of
from pools.services.supply import HELD_STATES, RESERVED
from portal.lib.errors import DomainError


@dataclass(frozen=True, slots=True)
class Provision:
    """What can be had of a pool: capacity with all its replicas, and how far promises are divided."""

    capacity: Rate
    oversubscription: float

    def missing(self, promised: Promises) -> Triple:
        """Units that are promised beyond it, per dimension."""
        return shortfall(NOTHING, ClassCode.DEDICATED, promised, self.capacity, self.oversubscription)


def provision_of(pool: Pool, ready: Sequence[Rate], *, replica: Rate | None = None, all_new: bool = False) -> Provision:
    """Of a pool as its fields say now. ``ready`` replicas count as they are, the others as ``replica`` (default: the
    profile in force); with ``all_new`` every one counts as ``replica``."""
    each = replica or replica_of(pool.current_profile)
    kept = [] if all_new else list(ready)[: pool.max_replicas]
    return Provision(pool_capacity(kept) + each.times(pool.max_replicas - len(kept)), pool.oversubscription)


def promises_check(pool_id: int, before: Provision, after: Provision, field: str, what: str, now: datetime) -> None:
    """Raises DomainError ``promises_broken`` when at some moment from now on ``after`` can keep less of what is
    promised then than ``before``."""
    for moment in moments(spans_of([pool_id], now)[pool_id], now):
        was, will = before.missing(moment.promised), after.missing(moment.promised)
        if not any(short > then + 1e-6 for short, then in zip(will, was, strict=True)):
            continue
        when = f" from {moment_words(moment.at, now)} on" if moment.at > now else ""
        sentence = (
            f"{what} cannot be kept: what is promised would be {missing_words(will)}{when} even with every replica "
            "ready. "
            "Lower or end promises first, or allow more replicas."
        )
        raise DomainError("promises_broken", sentence, status=409, fields={field: sentence})


def degraded_by(pool_id: int, capacity: Rate) -> list[int]:
    """Ids of bound reserved entitlements that a pool of this capacity could not keep, in the order they give way."""
    rows = Entitlement.objects.filter(
        pool_id=pool_id, state__in=HELD_STATES, tier__service_class__in=RESERVED
    ).select_related("tier")
    return list(degrade(capacity, [lease_of(row) for row in rows]))
