"""The binding reconciler: windows open and close, leases are bound when capacity is ready, degraded when it is lost.

Safe at any time, any number of times: it compares the books with the ready capacity and moves what does not agree.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pools.choices import CLASS_RULES, EntitlementState, ServiceClass
from pools.counters.snapshot import PoolCounters
from pools.counters.types import CounterUnavailable
from pools.mechanism.amounts import Rate
from pools.mechanism.eviction import degrade
from pools.mechanism.lease import Promises, Supply, Verdict, drained, fit
from pools.models import Entitlement, Pool
from pools.services.amounts import CLASS_CODES, NOTHING, base_of, lease_of
from pools.services.documents import pool_publish
from pools.services.entitlements import STATE_FIELDS, state_set
from pools.services.store import counters
from pools.services.supply import supply_of
from portal.audit.services import SYSTEM, audit_record, recorded
from portal.lib.errors import DomainError

log = logging.getLogger(__name__)
State = EntitlementState
HELD = frozenset({State.BOUND.value, State.DRAINING.value})


@dataclass(frozen=True, slots=True)
class Move:
    """One entitlement that changed state."""

    entitlement_id: int
    before: str
    after: str
    sentence: str


def binding_reconcile(pool_id: int, now: datetime) -> list[Move]:
    """Moves the pool's entitlements to the states they should be in; returns what moved."""
    with recorded():
        pool = Pool.objects.select_for_update(no_key=True).filter(pk=pool_id, archived_at__isnull=True).first()
        if pool is None or pool.current_profile_id is None:
            return []
        rows = list(
            Entitlement.objects.select_for_update(of=("self",), no_key=True)
            .filter(pool_id=pool_id)
            .exclude(state=State.EXPIRED.value)
            .select_related("tier", "tenant")
            .order_by("created_at", "pk")
        )
        moves = _Reconcile(rows, supply_of(pool), pool.oversubscription, now).run(pool_id)
    if moves:
        ended = {row.tenant_id for row in rows if row.state == State.EXPIRED}
        pool_publish(pool_id, now, keys_of=ended)
    return moves


class _Reconcile:
    """One pass over one pool's entitlements, under the lock of its row."""

    def __init__(self, rows: Sequence[Entitlement], supply: Supply, oversubscription: float, now: datetime) -> None:
        self.rows, self.supply, self.oversubscription, self.now = rows, supply, oversubscription, now
        self.moves: list[Move] = []

    def run(self, pool_id: int) -> list[Move]:
        """1 windows; 2 capacity lost; 3 leases that fit now; 4 leases whose room is free."""
        self._windows()
        self._degrade()
        for row in self._waiting():
            self._try(row)
        draining = [row for row in self.rows if row.state == State.DRAINING]
        if draining:
            self._drain(draining, _snapshot(pool_id))
        return self.moves

    def _windows(self) -> None:
        for row in self.rows:
            if row.valid_until is not None and row.valid_until <= self.now:
                self._move(row, State.EXPIRED, "Its validity window has ended.")

    def _degrade(self) -> None:
        leases = [lease_of(row) for row in self.rows if row.state in HELD and _rank(row) == 0]
        lost = set(degrade(self.supply.ready, leases))
        for row in self.rows:
            if row.pk in lost:
                ready = self.supply.ready_replicas
                self._move(row, State.DEGRADED, f"The pool lost capacity: {ready} replicas are ready, too few for it.")

    def _waiting(self) -> Iterable[Entitlement]:
        """Degraded leases first, the longest bound first; then pending ones by rank and age."""
        open_now = [row for row in self.rows if row.valid_from <= self.now]
        degraded = [row for row in open_now if row.state == State.DEGRADED]
        degraded.sort(
            key=lambda row: (row.tier.service_class != ServiceClass.DEDICATED, row.bound_at or row.created_at)
        )
        pending = [row for row in open_now if row.state == State.PENDING]
        pending.sort(key=lambda row: (_rank(row), row.created_at, row.pk))
        return [*degraded, *pending]

    def _try(self, row: Entitlement) -> None:
        code = CLASS_CODES[row.tier.service_class]
        answer = fit(base_of(row), code, self._promised(), self.supply, self.oversubscription)
        if answer.verdict is Verdict.NOW:
            if _rank(row) == 0:
                self._move(row, State.DRAINING, "Its capacity is withheld; others' work is running down.")
            else:
                self._move(row, State.BOUND, "Bound.")
        elif row.state == State.PENDING and row.state_reason != answer.sentence[:300]:
            row.state_reason = answer.sentence[:300]
            row.save(update_fields=["state_reason"])

    def _promised(self) -> Promises:
        held = [row for row in self.rows if row.state in HELD]
        return Promises(
            sum((base_of(row) for row in held if _rank(row) == 0), NOTHING),
            sum((base_of(row) for row in held if _rank(row) == 1), NOTHING),
        )

    def _drain(self, draining: Sequence[Entitlement], snapshot: PoolCounters | None) -> None:
        if snapshot is None:
            return
        use = {
            int(identity): Rate(0, int(kv), int(seats))
            for identity, kv, seats in zip(
                snapshot.entitlement_ids, snapshot.column("use_kv"), snapshot.column("use_seats"), strict=True
            )
        }
        for row in draining:
            others = [other for other in self.rows if other.pk != row.pk]
            in_use = sum((use.get(other.pk, NOTHING) for other in others), NOTHING)
            unused = NOTHING
            for other in others:
                if other.state in HELD and _rank(other) == 0:
                    unused += _left(base_of(other), use.get(other.pk, NOTHING))
            if drained(self.supply.ready, in_use, unused, base_of(row)):
                self._move(row, State.BOUND, "Bound.")

    def _move(self, row: Entitlement, state: EntitlementState, sentence: str) -> None:
        before = row.state
        state_set(row, state, sentence, self.now)
        row.save(update_fields=STATE_FIELDS)
        self.moves.append(Move(row.pk, before, state.value, sentence))
        audit_record(
            actor=SYSTEM,
            verb=f"entitlement_{state.value}",
            target=row,
            before={"state": before},
            after={"state": state.value},
            reason=sentence,
            now=self.now,
            tenant=row.tenant,
        )


def _rank(row: Entitlement) -> int:
    return CLASS_RULES[ServiceClass(row.tier.service_class)].rank


def _since(row: Entitlement) -> datetime:
    return row.bound_at or row.created_at


def _left(base: Rate, use: Rate) -> Rate:
    return Rate(
        max(0, base.tokens_per_second - use.tokens_per_second),
        max(0, base.kv_bytes - use.kv_bytes),
        max(0, base.concurrency - use.concurrency),
    )


def _snapshot(pool_id: int) -> PoolCounters | None:
    try:
        snapshot = counters().snapshot(pool_id)
    except (CounterUnavailable, DomainError) as error:
        log.warning("pool %s: leases keep draining, the counters cannot be read (%s)", pool_id, error)
        return None
    return snapshot if np.size(snapshot.entitlement_ids) else None
