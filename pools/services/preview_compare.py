"""Two decisions of the tick for one pool beside each other: limits, weights, shares, debts, replicas, money."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.conf import settings

from pools.choices import EntitlementState
from pools.mechanism.ordering import Floats, StateCode
from pools.mechanism.outlook import ceilings, debt_heading, falls_below, scaling_levels, shares
from pools.mechanism.scaling import replicas_for
from pools.models import Entitlement, Pool, Tier
from pools.services.amounts import replica_of
from pools.services.preview_types import PreviewPool, PreviewRow, Triple
from pools.services.samples import promised_of
from pools.services.scaling import rules_of
from pools.services.tick_decide import PoolResult
from pools.services.tick_memory import Seen

HOURS_A_MONTH = 730.0
STATES = tuple(state.value for state in EntitlementState)
PROMISED = (StateCode.PENDING, StateCode.DRAINING, StateCode.BOUND, StateCode.DEGRADED)
NOTICEABLE = 0.005
"""A limit that moves by less than this share of itself counts as unmoved."""
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Compared:
    """One pool: its part of the preview and E rows as columns. ``weightiness`` [E] is how much of itself a limit
    moves; ``loses`` [E] marks those that fall below their use."""

    pool: PreviewPool
    ids: list[int]
    was: PoolResult
    will: PoolResult
    use: Floats
    changed: Flags
    loses: Flags
    weightiness: Floats
    falls: Flags

    @property
    def moved(self) -> int:
        """Rows whose limits change."""
        return int(self.changed.sum())

    @property
    def below(self) -> int:
        """Rows that fall below their use."""
        return int(self.loses.sum())


def compare_pool(pool: Pool, was: PoolResult, will: PoolResult, seen: Seen, future: Set[int], note: str) -> Compared:
    """``was`` and ``will`` are the tick's answers for the pool with the old and the new terms; ``future`` the ids whose
    window has not begun (they ask for no replica yet)."""
    use = seen.in_flight[was.rows].copy()
    use[:, 0] = was.result.explain.average[was.group_rows, 0]
    before, after = was.result.assured[was.group_rows], will.result.assured[will.group_rows]
    share = np.abs(after - before) / np.maximum(1.0, np.maximum(before, after))
    falls = falls_below(before, after, use)
    wanted = [replicas_wanted(pool, one, future) for one in (was, will)]
    hours = (wanted[1] - wanted[0]) * pool.accelerators_per_replica * HOURS_A_MONTH
    capacity = _triple(was.terms.capacity)
    promised = _triple(promised_of(was))
    part = PreviewPool(
        pool_id=pool.pk,
        slug=pool.slug,
        ready=round(float(capacity[2]) / max(1, replica_of(pool.current_profile).concurrency)),
        entitlements=int(was.terms.ids.size),
        capacity=capacity,
        promised=promised,
        over_promised=tuple(d for d in range(3) if promised[d] > capacity[d] * pool.oversubscription),
        ceilings_before=ceilings(was.terms.cap, was.terms.capacity),
        ceilings_after=ceilings(will.terms.cap, will.terms.capacity),
        headroom_before=_triple(was.result.pool_headroom[was.pool_index]),
        headroom_after=_triple(will.result.pool_headroom[will.pool_index]),
        wanted_before=wanted[0],
        wanted_after=wanted[1],
        accelerator_hours_change=hours,
        cost_change=money_of(hours),
        note=note,
    )
    return Compared(
        part,
        was.terms.ids.tolist(),
        was,
        will,
        use,
        np.asarray((share > NOTICEABLE).any(axis=1)),
        np.asarray(falls.any(axis=1)),
        np.asarray(share.max(axis=1, initial=0.0)),
        falls,
    )


def money_of(accelerator_hours: float) -> float | None:
    """What accelerator hours cost; None while no price is set, unless there are none."""
    price = float(settings.ACCELERATOR_HOUR_PRICE)
    if accelerator_hours == 0:
        return 0.0
    return accelerator_hours * price if price > 0 else None


def rows_of(one: Compared, index: int, row: Entitlement, tier: Tier) -> PreviewRow:
    """One line of the preview. ``row`` with its tenant, and its tier unless that is the edited one."""
    mine = row.tier_id == tier.pk
    its_tier = tier if mine else row.tier
    was, will = one.was.result, one.will.result
    at, then = one.was.group_rows.start + index, one.will.group_rows.start + index
    capacity = one.was.terms.capacity
    return PreviewRow(
        entitlement_id=row.pk,
        tenant=row.tenant.name,
        tenant_slug=row.tenant.slug,
        pool_id=one.pool.pool_id,
        pool_slug=one.pool.slug,
        tier=its_tier.name,
        service_class=its_tier.service_class,
        state=STATES[int(one.was.terms.state[index])],
        mine=mine,
        use=_triple(one.use[index]),
        limit_before=_triple(was.assured[at]),
        limit_after=_triple(will.assured[then]),
        headroom_before=_triple(was.headroom[at]),
        headroom_after=_triple(will.headroom[then]),
        weight_before=float(was.weight[at]),
        weight_after=float(will.weight[then]),
        share_before=float(shares(was.assured[at : at + 1], capacity)[0]),
        share_after=float(shares(will.assured[then : then + 1], capacity)[0]),
        debt=float(was.debt[at]),
        heading_before=_heading(one.was, index),
        heading_after=_heading(one.will, index),
        below=tuple(np.flatnonzero(one.falls[index]).tolist()),
    )


def _heading(one: PoolResult, index: int) -> float:
    at, terms = one.group_rows.start + index, one.terms
    row = slice(index, index + 1)
    found = debt_heading(
        terms.base[row, 0],
        one.result.demand[at : at + 1, 0],
        one.result.limit[at : at + 1, 0],
        terms.service_class[row],
    )
    return float(found[0])


def replicas_wanted(pool: Pool, one: PoolResult, future: Set[int]) -> int:
    """Replicas the scaling rules want for this demand, before their windows; a manual override holds."""
    if pool.manual_replicas is not None:
        return pool.manual_replicas
    terms, result = one.terms, one.result
    asks = np.isin(terms.state, PROMISED) & ~np.isin(terms.ids, np.fromiter(future, np.int64, len(future)))
    rows = np.arange(one.group_rows.start, one.group_rows.stop)[asks]
    rules = rules_of(pool)
    commit, need = scaling_levels(
        terms.service_class[asks], terms.base[asks], terms.cap[asks], result.demand[rows], result.debt[rows], rules
    )
    replica = replica_of(pool.current_profile)
    wanted = max(replicas_for(commit, replica), replicas_for(need, replica, rules.target_use), pool.min_replicas)
    return min(wanted, pool.max_replicas)


def _triple(values: Any) -> Triple:
    return (float(values[0]), float(values[1]), float(values[2]))
