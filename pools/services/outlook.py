"""What another pool would mean for those in it, now: the tick's own decision on a frozen snapshot, as the pool is and
as it would be. Settings, profiles, replicas by hand and the loss of an endpoint all ask here. Writes nothing.

1 freeze what the tick reads; 2 change the pool's part of it; 3 decide twice; 4 compare.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

import numpy as np
import redis
from django.conf import settings

from pools.counters.types import CounterUnavailable
from pools.mechanism.amounts import Rate
from pools.mechanism.ordering import Floats, StateCode, WeightFactors
from pools.mechanism.outlook import falls_below
from pools.models import CapacityProfile, Entitlement, Pool
from pools.services.amounts import mean_cost_tokens, mean_service_s, replica_of
from pools.services.configuring import terms_key
from pools.services.preview_compare import HOURS_A_MONTH, NOTICEABLE, Flags, money_of, replicas_wanted
from pools.services.preview_types import Triple
from pools.services.promises import degraded_by
from pools.services.store import counters
from pools.services.supply import capacity_less, promises_of, ready_rates, supply_of
from pools.services.tick_decide import PoolResult, freeze, limits_decide, memory_recall
from pools.services.tick_terms import TickTerms, terms_many
from portal.lib.errors import DomainError
from portal.lib.hot import hot

log = logging.getLogger(__name__)
MOST_ROWS = 40
AWAY = (redis.RedisError, CounterUnavailable, DomainError)
NO_STORE = "Use and limits are not known right now, so nobody's share can be shown; the numbers above hold."


@dataclass(frozen=True, slots=True)
class OutlookRow:
    """One entitlement before and after. ``below``: dimensions whose limit falls below the present use; ``degraded``:
    its promise could not be kept."""

    entitlement_id: int
    tenant: str
    tenant_slug: str
    tier: str
    service_class: str
    use: Triple
    limit_before: Triple
    limit_after: Triple
    below: tuple[int, ...]
    degraded: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """``rows`` are those that notice, worst first; ``moved``, ``below`` and ``degraded`` count all. ``known`` is false
    when the hot store could not be asked: then only capacity and promises are told. ``wanted_*`` are replicas the
    scaling rules want, None while unknown."""

    capacity_before: Triple
    capacity_after: Triple
    reserved: Triple
    elastic: Triple
    degraded: int
    known: bool = False
    rows: tuple[OutlookRow, ...] = ()
    moved: int = 0
    below: int = 0
    wanted_before: int | None = None
    wanted_after: int | None = None
    accelerator_hours_change: float = 0.0
    cost_change: float | None = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def sentence(self) -> str:
        """The gist in one line."""
        parts = []
        if self.degraded:
            parts.append(f"{self.degraded} reserved promise{'s' if self.degraded > 1 else ''} could not be kept")
        if self.below:
            parts.append(f"{self.below} {'fall' if self.below > 1 else 'falls'} below present use")
        if self.moved and not self.below:
            parts.append(f"limits of {self.moved} move")
        if self.wanted_before is not None and self.wanted_before != self.wanted_after:
            parts.append(f"replicas wanted {self.wanted_before} → {self.wanted_after}")
        if not parts:
            return "Nobody would notice now." if self.known else "Nobody loses a promise."
        return "; ".join(parts)[:1].upper() + "; ".join(parts)[1:] + "."


def pool_outlook(pool: Pool, after: Pool, now: datetime, *, capacity: Rate | None = None) -> Outlook:
    """The pool as it is and as ``after`` (never saved; its ``current_profile`` may be unsaved too) would be.

    ``capacity`` is what would be ready then; None: what is ready now. Never raises for an absent hot store.
    """
    supply, promised = supply_of(pool), promises_of(pool.pk)
    then = supply.ready if capacity is None else capacity
    lost = degraded_by(pool.pk, then) if not supply.ready.fits_in(then) else []
    base = Outlook(
        _triple(supply.ready.as_tuple()),
        _triple(then.as_tuple()),
        _triple(promised.reserved.as_tuple()),
        _triple(promised.elastic.as_tuple()),
        len(lost),
    )
    try:
        was, will, use = _decided(pool, after, then, lost, now)
    except AWAY as error:
        log.info("an outlook without live figures: %s", error)
        return replace(base, notes=(NO_STORE,))
    return _compared(base, pool, after, was, will, use, set(lost), now)


def _decided(
    pool: Pool, after: Pool, capacity: Rate, lost: list[int], now: datetime
) -> tuple[PoolResult, PoolResult, Floats]:
    revision = cast(bytes | None, hot().get(terms_key(pool.pk)))
    terms = terms_many([pool.pk], [revision or b""], now).get(pool.pk)
    if terms is None:
        raise CounterUnavailable(f"{pool.slug} has no capacity profile")
    memory = memory_recall(pool.pk % settings.TICK_SHARDS)
    before = freeze([terms], [counters().snapshot(pool.pk)], memory, now)
    changed = replace(before, terms=[_with(before.terms[0], after, capacity, lost)])
    (was,), _ = limits_decide(before)
    (will,), _ = limits_decide(changed)
    use = before.seen.in_flight[was.rows].copy()
    use[:, 0] = was.result.explain.average[was.group_rows, 0]
    return was, will, use


def _with(terms: TickTerms, after: Pool, capacity: Rate, lost: list[int]) -> TickTerms:
    """The pool's part of the tick's input, changed."""
    profile = cast(CapacityProfile, after.current_profile)
    state = terms.state.copy()
    state[np.isin(terms.ids, lost)] = int(StateCode.DEGRADED)
    token_bytes = 2 * profile.layers * profile.kv_heads * profile.head_dim * profile.bytes_per_element
    return replace(
        terms,
        capacity=np.array(capacity.as_tuple(), dtype=float),
        sequence_kv_bytes=float(profile.planned_context * token_bytes),
        mean_service_s=mean_service_s(profile),
        typical=(
            mean_cost_tokens(profile, after.weight_input, after.weight_output),
            (profile.mean_input_tokens + profile.mean_output_tokens) * token_bytes,
        ),
        factors=WeightFactors(after.alpha_slo, after.alpha_burst, after.alpha_debt),
        fill=after.fill,
        state=state,
    )


def _compared(
    base: Outlook,
    pool: Pool,
    after: Pool,
    was: PoolResult,
    will: PoolResult,
    use: Floats,
    lost: set[int],
    now: datetime,
) -> Outlook:
    old, new = was.result.assured[was.group_rows], will.result.assured[will.group_rows]
    share = (np.abs(new - old) / np.maximum(1.0, np.maximum(old, new))).max(axis=1, initial=0.0)
    falls = falls_below(old, new, use)
    gone = np.isin(was.terms.ids, list(lost))
    notices = np.flatnonzero((share > NOTICEABLE) | falls.any(axis=1) | gone)
    worst = sorted(notices.tolist(), key=lambda i: (not gone[i], not falls[i].any(), -share[i], int(was.terms.ids[i])))
    shown = worst[:MOST_ROWS]
    ids = [int(was.terms.ids[index]) for index in shown]
    known = {row.pk: row for row in Entitlement.objects.filter(pk__in=ids).select_related("tenant", "tier")}
    rows = [
        _row(known[identity], index, use, old, new, falls, bool(gone[index]))
        for identity, index in zip(ids, shown, strict=True)
        if identity in known
    ]
    future = set(
        Entitlement.objects.filter(pool=pool, valid_from__gt=now, state="pending").values_list("pk", flat=True)
    )
    wanted = replicas_wanted(pool, was, future), replicas_wanted(after, will, future)
    accelerators = wanted[1] * after.accelerators_per_replica - wanted[0] * pool.accelerators_per_replica
    return replace(
        base,
        known=True,
        rows=tuple(rows),
        moved=int((share > NOTICEABLE).sum()),
        below=int(falls.any(axis=1).sum()),
        wanted_before=wanted[0],
        wanted_after=wanted[1],
        accelerator_hours_change=accelerators * HOURS_A_MONTH,
        cost_change=money_of(accelerators * HOURS_A_MONTH),
    )


def _row(
    row: Entitlement, index: int, use: Floats, old: Floats, new: Floats, falls: Flags, degraded: bool
) -> OutlookRow:
    return OutlookRow(
        entitlement_id=row.pk,
        tenant=row.tenant.name,
        tenant_slug=row.tenant.slug,
        tier=row.tier.name,
        service_class=row.tier.service_class,
        use=_triple(use[index]),
        limit_before=_triple(old[index]),
        limit_after=_triple(new[index]),
        below=tuple(np.flatnonzero(falls[index]).tolist()),
        degraded=degraded,
    )


def capacity_without(pool: Pool, endpoint_rate: Rate) -> Rate:
    """What is ready without one of its replicas."""
    return capacity_less(ready_rates(pool.pk), endpoint_rate)


def capacity_with(pool: Pool, replicas: int, *, anew: bool = False) -> Rate:
    """What would be ready with so many replicas: the ready ones as they are, others as the profile has them; ``anew``
    counts all of them by the profile."""
    if anew:
        return replica_of(pool.current_profile).times(replicas)
    supply = supply_of(pool)
    if replicas >= supply.ready_replicas or supply.ready_replicas == 0:
        return supply.at(replicas)
    kept = replicas / supply.ready_replicas
    return Rate(*(int(has * kept) for has in supply.ready.as_tuple()))


def _triple(values: Any) -> Triple:
    return (float(values[0]), float(values[1]), float(values[2]))
