"""A pool in plain Python, run by the reference functions: what the store must look like after the same deeds."""

from __future__ import annotations

from dataclasses import replace

from pools.counters.library import LONGEST_LEASE_MS, OUTCOME_EXPIRED, REMEMBER_EXPIRED_MS
from pools.mechanism.accrual import copy_entitlement, rehold, touch_entitlement
from pools.mechanism.admission import Ask, Decision, decide
from pools.mechanism.hot import (
    EVICTED,
    LEASE_BUCKET_MS,
    LIVE,
    MICRO,
    EntitlementHot,
    PoolHot,
    Reservation,
    Terms,
)
from pools.mechanism.resize import CapacityRecord, resize
from pools.mechanism.settlement import Settled, Settlement, expire, heartbeat, settle
from pools.mechanism.victims import Candidate

POOL = 1


class World:
    """The state and its deeds; every deed checks the invariants that can be seen at that moment."""

    def __init__(self) -> None:
        self.pool = PoolHot()
        self.terms: dict[int, Terms] = {}
        self.hot: dict[int, EntitlementHot] = {}
        self.leases: dict[str, Reservation] = {}
        self.candidates: dict[str, Candidate] = {}
        self.buckets: dict[int, list[str]] = {}
        self.evicted: list[str] = []
        self.events = 0
        self.resized = False

    def configure(self, entitlement_id: int, terms: Terms, now: int) -> None:
        """As tp_configure with force."""
        self.terms[entitlement_id] = terms
        if entitlement_id in self.hot or terms.rank == 0:
            self._rehold(entitlement_id, now)

    def _rehold(self, entitlement_id: int, now: int) -> None:
        mine = copy_entitlement(self.hot.get(entitlement_id) or EntitlementHot())
        terms = self.terms[entitlement_id]
        touch_entitlement(mine, terms, now)
        rehold(self.pool, mine, terms)
        self.hot[entitlement_id] = mine

    def tick(
        self,
        record: CapacityRecord | None,
        rows: dict[int, tuple[int, int, int, int, int]],
        now: int,
        next_tick: int | None = None,
    ) -> None:
        """As tp_tick: limits first, then the capacity record, then when the next one is due."""
        for entitlement_id, (refill, size, kv, seats, weight) in rows.items():
            self.terms[entitlement_id] = replace(
                self.terms[entitlement_id],
                refill_milli=refill, bucket_size_micro=size, limit_kv=kv, limit_seats=seats, weight_micro=weight,
            )  # fmt: skip
            if self.terms[entitlement_id].rank == 0:
                self._rehold(entitlement_id, now)
        if record is not None:
            if self.pool.at_ms == 0:
                self.pool.at_ms = now
            self.pool, taken = resize(self.pool, record, now, tuple(self.candidates.values()))
            self._mark(taken)
        if next_tick is not None:
            self.pool.next_tick_ms = next_tick

    def _mark(self, taken: tuple[Candidate, ...]) -> None:
        for candidate in taken:
            assert self.leases[candidate.name].rank == 3  # I13
            self.leases[candidate.name] = replace(self.leases[candidate.name], status=EVICTED)
            del self.candidates[candidate.name]
            self.evicted.append(candidate.name)

    def reserve(self, ask: Ask, now: int) -> Decision:
        name = f"{ask.entitlement_id}:{ask.request_id}"
        terms = self.terms.get(ask.entitlement_id)
        before, mine = replace(self.pool), self.hot.get(ask.entitlement_id)
        result = decide(
            self.pool, mine, terms, ask, now,
            known=self.leases.get(name), candidates=tuple(self.candidates.values()),
        )  # fmt: skip
        if terms is None:
            return result.decision
        self.pool, self.hot[ask.entitlement_id] = result.pool, result.entitlement
        if result.reservation is not None:
            self._mark(result.victims)
            lease = self.leases[name] = result.reservation
            self.buckets.setdefault(lease.expires_ms // LEASE_BUCKET_MS, []).append(name)
            if lease.rank == 3:
                self.candidates[name] = Candidate(name, lease.kv, lease.seats, terms.weight_micro, now)
        elif not result.decision.known:
            self._check_refusal(before, result.entitlement, terms, ask, result.decision)
        return result.decision

    def _check_refusal(self, pool: PoolHot, mine: EntitlementHot, terms: Terms, ask: Ask, decision: Decision) -> None:
        fits_kv, fits_seats = mine.use_kv + ask.kv_bytes, mine.use_seats + ask.concurrency
        if decision.code > 5:  # I3: own base and bucket always admit
            within = fits_kv <= terms.base_kv and fits_seats <= terms.base_seats
            assert not (terms.rank == 0 and within and mine.bucket_micro >= ask.tokens * MICRO), decision
        if decision.code == 11:  # I5: contention and use above limit
            assert decision.contended and (fits_kv > terms.limit_kv or fits_seats > terms.limit_seats)
        if decision.code in (9, 11) and decision.held:
            assert self.pool.wait_until_ms >= pool.wait_until_ms

    def settle(self, settlement: Settlement, now: int) -> Settled:
        name = f"{settlement.entitlement_id}:{settlement.request_id}"
        key = settlement.entitlement_id
        lease = self.leases.get(name)
        mine = self.hot.get(key, EntitlementHot())
        closing = settle(
            self.pool, mine, self.terms.get(key, Terms()), lease, settlement.actual_tokens, settlement.outcome, now
        )
        if closing.settled.status == 1:
            self._closed(name, key, closing)
        return closing.settled

    def _closed(self, name: str, key: int, closing: object) -> None:
        self.pool, self.hot[key] = closing.pool, closing.entitlement  # type: ignore[attr-defined]
        self.leases[name] = closing.reservation  # type: ignore[attr-defined]
        self.candidates.pop(name, None)
        self.events += 1

    def beat(self, key: int, request_id: str, streamed: int, lease_ms: int, now: int) -> tuple[bool, bool, int]:
        name = f"{key}:{request_id}"
        lease = self.leases.get(name)
        if lease is None or lease.status > EVICTED:
            return False, False, lease.expires_ms if lease else 0
        self.hot[key], alive = heartbeat(self.hot[key], self.terms[key], lease, streamed, lease_ms, now)
        self.leases[name] = alive
        return True, alive.status == EVICTED, alive.expires_ms

    def reap(self, now: int) -> int:
        """As tp_reap without a limit."""
        due = now // LEASE_BUCKET_MS - 1
        bucket = self.pool.reap_from
        expired = 0
        if bucket == 0 or bucket > due:
            return 0
        while bucket <= due:
            names = self.buckets.pop(bucket, [])
            while names:
                expired += self._reap_one(names.pop(0), now)
            bucket += 1
        self.pool.reap_from = bucket
        return expired

    def _reap_one(self, name: str, now: int) -> int:
        lease = self.leases.get(name)
        if lease is None:
            return 0
        if lease.status > EVICTED and lease.expires_ms <= now:
            del self.leases[name]
            return 0
        if lease.expires_ms > now:
            self.buckets.setdefault(lease.expires_ms // LEASE_BUCKET_MS, []).append(name)
            return 0
        key = int(name.partition(":")[0])
        closing = expire(self.pool, self.hot[key], self.terms[key], lease, now)
        self._closed(name, key, closing)
        closed = self.leases[name] = replace(self.leases[name], expires_ms=now + REMEMBER_EXPIRED_MS)
        self.buckets.setdefault(closed.expires_ms // LEASE_BUCKET_MS, []).append(name)
        return 1

    def check(self) -> None:
        """I1 for everyone; I2: use is the sum of live reservations, above capacity only by what was lent."""
        for mine in self.hot.values():
            held = (mine.reserved_tokens + mine.charged_tokens) * MICRO
            assert mine.minted_micro == mine.bucket_micro + held + mine.spilled_micro
        live = [lease for lease in self.leases.values() if lease.status == LIVE]
        assert self.pool.use_kv == sum(lease.kv for lease in live)
        assert self.pool.use_seats == sum(lease.seats for lease in live)
        assert self.pool.evictable_seats == sum(lease.seats for lease in live if lease.rank == 3)
        evicting = [lease for lease in self.leases.values() if lease.status == EVICTED]
        assert self.pool.evicting_seats == sum(lease.seats for lease in evicting)
        holds = [(mine.hold_kv, mine.hold_seats) for mine in self.hot.values()]
        assert (self.pool.hold_kv, self.pool.hold_seats) == (sum(h[0] for h in holds), sum(h[1] for h in holds))
        assert self.pool.hold_seats >= self.pool.strict_hold_seats >= 0
        if not self.resized:
            reserved = [terms for terms in self.terms.values() if terms.rank == 0]
            lent_seats = sum(-(-terms.lend_percent * terms.base_seats // 100) for terms in reserved)
            lent_kv = sum(-(-terms.lend_percent * terms.base_kv // 100) for terms in reserved)
            firm_seats = self.pool.use_seats - self.pool.evictable_seats
            firm_kv = self.pool.use_kv - self.pool.evictable_kv
            assert firm_seats <= self.pool.capacity_seats + lent_seats
            assert firm_kv <= self.pool.capacity_kv + lent_kv


assert LONGEST_LEASE_MS and OUTCOME_EXPIRED
