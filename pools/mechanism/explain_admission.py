"""The admission steps one request would meet now, each with the numbers that were compared, up to the one that binds.

Follows ``admission.decide`` step by step (the tests compare the outcome of both for any state); it decides nothing and
changes nothing. Source: Token Pools design, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pools.mechanism.accrual import copy_entitlement, touch_entitlement, touch_pool
from pools.mechanism.admission import (
    CONCURRENCY,
    DEGRADED,
    EXPIRED,
    KV_BUDGET,
    LOW_PRIORITY,
    NEVER_FITS,
    NO_CAPACITY,
    PENDING,
    POOL_FULL,
    SUSPENDED,
    TOKEN_BUDGET,
    Ask,
    decide,
    room,
)
from pools.mechanism.hot import MICRO, EntitlementHot, PoolHot, Terms
from pools.mechanism.victims import Candidate

Verdict = Literal["holds", "refused", "admitted", "open"]
"""holds: passed, go on; open: does not decide, go on; refused and admitted: the end."""


@dataclass(frozen=True, slots=True)
class Check:
    """value ≤ bound in one dimension (1 tokens, 2 KV bytes, 3 sequences; 0 none)."""

    dimension: int
    value: int
    bound: int

    @property
    def holds(self) -> bool:
        return self.value <= self.bound


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the admission, ``code`` the refusal it would give (a Refusal number, 0 for none)."""

    number: int
    verdict: Verdict
    checks: tuple[Check, ...] = ()
    code: int = 0


@dataclass(frozen=True, slots=True)
class AdmissionStory:
    """Steps as far as they are taken; ``admitted`` and ``code`` are what ``decide`` says. ``victims`` preemptible
    requests would give way."""

    steps: tuple[Step, ...]
    admitted: bool
    code: int
    victims: int


MOST_CANDIDATES = 512


def spare_work(pool: PoolHot) -> list[Candidate]:
    """The pool's preemptible work as requests of one size, where the single ones are not known."""
    count = min(MOST_CANDIDATES, max(pool.evictable_seats, 1 if pool.evictable_kv > 0 else 0))
    return [
        Candidate(f"any:{n}", pool.evictable_kv // count, max(1, pool.evictable_seats // count), 0, n)
        for n in range(count)
    ]


def admission_story(
    pool: PoolHot,
    entitlement: EntitlementHot,
    terms: Terms,
    ask: Ask,
    now_ms: int,
    candidates: Sequence[Candidate] | None = None,
) -> AdmissionStory:
    """What a request would meet; ``candidates`` as for ``decide``, by default :func:`spare_work`."""
    given = spare_work(pool) if candidates is None else candidates
    told = decide(pool, entitlement, terms, ask, now_ms, candidates=given)
    mine, house = copy_entitlement(entitlement), replace(pool)
    touch_entitlement(mine, terms, now_ms)
    touch_pool(house, now_ms)
    steps: list[Step] = []
    for step in _steps(house, mine, terms, ask, told.decision.code, told.victims):
        steps.append(step)
        if step.verdict in ("refused", "admitted"):
            break
    return AdmissionStory(tuple(steps), told.decision.admitted, told.decision.code, len(told.victims))


def _steps(
    pool: PoolHot, mine: EntitlementHot, terms: Terms, ask: Ask, code: int, victims: Sequence[Candidate]
) -> Iterator[Step]:
    after_kv, after_seats = mine.use_kv + ask.kv_bytes, mine.use_seats + ask.concurrency
    pool_kv, pool_seats = pool.use_kv + ask.kv_bytes, pool.use_seats + ask.concurrency
    unbound = code if code in (SUSPENDED, EXPIRED, PENDING, DEGRADED) else 0
    yield Step(1, "refused" if unbound else "holds", code=unbound)
    largest = (
        Check(3, ask.concurrency, terms.cap_seats),
        Check(1, ask.tokens, terms.bucket_size_micro // MICRO),
        Check(2, ask.kv_bytes, terms.cap_kv),
    )
    yield _step(2, largest, NEVER_FITS)
    yield _step(3, (Check(3, after_seats, terms.cap_seats),), CONCURRENCY)
    yield _step(4, (Check(1, ask.tokens, mine.bucket_micro // MICRO),), TOKEN_BUDGET)
    yield _step(5, (Check(2, after_kv, terms.cap_kv),), KV_BUDGET)
    if terms.rank == 0:
        within = (Check(2, after_kv, terms.base_kv), Check(3, after_seats, terms.base_seats))
        yield Step(6, "admitted" if all(check.holds for check in within) else "open", within)
    if pool.ready_replicas <= 0:
        yield Step(7, "refused", code=NO_CAPACITY)
        return
    room_kv, room_seats = room(pool, mine, terms.rank)
    there = (Check(2, pool_kv, room_kv), Check(3, pool_seats, room_seats))
    yield Step(7, "refused" if code == POOL_FULL else "holds", there, POOL_FULL if code == POOL_FULL else 0)
    factor = 2 if pool.contended else 1
    calm = (
        Check(2, pool_kv - sum(one.kv for one in victims), pool.capacity_kv - factor * pool.margin_kv),
        Check(3, pool_seats - sum(one.seats for one in victims), pool.capacity_seats - factor * pool.margin_seats),
    )
    yield Step(8, "admitted" if all(check.holds for check in calm) else "open", calm)
    within = (Check(3, after_seats, terms.limit_seats), Check(2, after_kv, terms.limit_kv))
    holds = all(check.holds for check in within)
    yield Step(9, "admitted" if holds else "refused", within, 0 if holds else LOW_PRIORITY)


def _step(number: int, checks: tuple[Check, ...], code: int) -> Step:
    holds = all(check.holds for check in checks)
    return Step(number, "holds" if holds else "refused", checks, 0 if holds else code)
