"""Admission, case by case: what binds, in which order, and that nothing given is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pools.mechanism import admission
from pools.mechanism.accrual import copy_entitlement, hold_of, touch_entitlement
from pools.mechanism.admission import Ask, decide
from pools.mechanism.hot import (
    CLASS_DEDICATED,
    CLASS_ELASTIC,
    CLASS_GUARANTEED,
    CLASS_PREEMPTIBLE,
    CLASS_SPOT,
    MICRO,
    EntitlementHot,
    PoolHot,
    Terms,
)
from pools.mechanism.victims import Candidate, choose_victims

NOW = 1_700_000_000_000
POOL = PoolHot(
    at_ms=NOW, capacity_kv=1600, capacity_seats=16, ready_replicas=1, margin_kv=100, margin_seats=1,
    mean_service_us=4_000_000, next_tick_ms=NOW + 500,
)  # fmt: skip
TERMS = Terms(
    service_class=CLASS_ELASTIC, cap_kv=800, cap_seats=8, refill_milli=100_000, bucket_size_micro=1000 * MICRO,
    limit_kv=400, limit_seats=4,
)  # fmt: skip
MINE = EntitlementHot(at_ms=NOW, bucket_micro=1000 * MICRO, minted_micro=1000 * MICRO, peak_slice=NOW // 10_000)
ASK = Ask(1, 1, "r", 100, 100)


def run(
    pool: dict[str, int] | None = None, terms: dict[str, int] | None = None, mine: dict[str, int] | None = None,
    ask: dict[str, Any] | None = None, **more: Any,
) -> admission.Admission:  # fmt: skip
    return decide(
        replace(POOL, **(pool or {})), replace(copy_entitlement(MINE), **(mine or {})), replace(TERMS, **(terms or {})),
        ASK._replace(**(ask or {})), NOW, **more,
    )  # fmt: skip


def preemptible(count: int, seats: int = 1) -> list[Candidate]:
    return [Candidate(f"9:{number}", 100 * seats, seats, 100, NOW - 1000 * number) for number in range(count)]


FULL_OF_SPARE = {"use_kv": 1600, "use_seats": 16, "evictable_kv": 400, "evictable_seats": 4}

CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    "room for all": ({}, 0, 0),
    "suspended": ({"terms": {"state": 4}}, admission.SUSPENDED, 0),
    "expired": ({"terms": {"state": 5}}, admission.EXPIRED, 0),
    "window over": ({"terms": {"valid_until_ms": NOW}}, admission.EXPIRED, 0),
    "pending": ({"terms": {"state": 0}}, admission.PENDING, 0),
    "draining is not bound yet": ({"terms": {"state": 1}}, admission.PENDING, 0),
    "degraded": ({"terms": {"state": 3}}, admission.DEGRADED, 0),
    "more choices than the cap": ({"ask": {"concurrency": 9}}, admission.NEVER_FITS, 3),
    "more tokens than the bucket can hold": ({"ask": {"tokens": 1001}}, admission.NEVER_FITS, 1),
    "more KV than the cap": ({"ask": {"kv_bytes": 801}}, admission.NEVER_FITS, 2),
    "own slots taken": ({"mine": {"use_seats": 8}}, admission.CONCURRENCY, 3),
    "bucket too low": ({"mine": {"bucket_micro": 99 * MICRO}}, admission.TOKEN_BUDGET, 1),
    "own KV taken": ({"mine": {"use_kv": 750, "use_seats": 3}}, admission.KV_BUDGET, 2),
    "concurrency is named before tokens": (
        {"mine": {"use_seats": 8, "bucket_micro": 0}}, admission.CONCURRENCY, 3,
    ),
    "pool full": ({"pool": {"use_kv": 1600, "use_seats": 16}}, admission.POOL_FULL, 3),
    "pool full of KV": ({"pool": {"use_kv": 1550, "use_seats": 3}}, admission.POOL_FULL, 2),
    "room is held for others": ({"pool": {"use_seats": 10, "hold_seats": 6}}, admission.POOL_FULL, 3),
    "room is withheld while a lease drains": ({"pool": {"use_seats": 10, "draining_seats": 6}}, admission.POOL_FULL, 3),
    "no replica": ({"pool": {"ready_replicas": 0}}, admission.NO_CAPACITY, 0),
    "contended, above its limit": ({"pool": {"use_seats": 15}, "mine": {"use_seats": 4}}, admission.LOW_PRIORITY, 3),
    "contended, above its KV limit": ({"pool": {"use_seats": 15}, "mine": {"use_kv": 350}}, admission.LOW_PRIORITY, 2),
    "contended, within its limit": ({"pool": {"use_seats": 15}, "mine": {"use_seats": 3}}, 0, 0),
    "not contended, above its limit": ({"pool": {"use_seats": 13}, "mine": {"use_seats": 6}}, 0, 0),
    "contention lasts until twice the margin": (
        {"pool": {"use_seats": 14, "contended": 1}, "mine": {"use_seats": 6}}, admission.LOW_PRIORITY, 3,
    ),
    "contention is over at twice the margin": (
        {"pool": {"use_seats": 13, "contended": 1}, "mine": {"use_seats": 6}}, 0, 0,
    ),
    "elastic work evicts preemptible": ({"pool": FULL_OF_SPARE, "candidates": preemptible(4)}, 0, 0),
    "spot work evicts preemptible": (
        {"pool": FULL_OF_SPARE, "terms": {"service_class": CLASS_SPOT}, "candidates": preemptible(4)}, 0, 0,
    ),
    "preemptible never evicts its kind": (
        {"pool": FULL_OF_SPARE, "terms": {"service_class": CLASS_PREEMPTIBLE}, "candidates": preemptible(4)},
        admission.POOL_FULL, 3,
    ),
    "nobody is evicted for a request its limit refuses": (
        {"pool": FULL_OF_SPARE, "mine": {"use_seats": 4}, "candidates": preemptible(4)}, admission.LOW_PRIORITY, 3,
    ),
    "nobody is evicted in vain": (
        {"pool": FULL_OF_SPARE, "ask": {"concurrency": 5}, "candidates": preemptible(4)}, admission.POOL_FULL, 3,
    ),
    "preemptible work uses idle guaranteed reserve": (
        {"pool": {"use_seats": 10, "hold_seats": 6}, "terms": {"service_class": CLASS_PREEMPTIBLE}}, 0, 0,
    ),
    "not what dedicated keeps": (
        {"pool": {"use_seats": 10, "strict_hold_seats": 6}, "terms": {"service_class": CLASS_PREEMPTIBLE}},
        admission.POOL_FULL, 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_binds(name: str) -> None:
    situation, code, dimension = CASES[name]
    result = run(**situation)
    decision = result.decision
    assert (decision.code, decision.dimension) == (code, dimension)
    assert decision.admitted == (code == 0) == (result.reservation is not None)
    transient = code in range(6, 12) or code in (admission.PENDING, admission.DEGRADED)
    assert (decision.wait_ms > 0) == transient
    if code:
        assert result.pool == replace(POOL, **situation.get("pool", {}))
        assert result.entitlement.bucket_micro == situation.get("mine", {}).get("bucket_micro", 1000 * MICRO)
        assert result.entitlement.refused[code] == 1 and not result.victims


def test_own_base_is_admitted_into_a_full_pool_whatever_runs() -> None:
    guaranteed = {"service_class": CLASS_GUARANTEED, "base_kv": 400, "base_seats": 4}
    alone = run(pool={"use_kv": 1600, "use_seats": 16, "contended": 1}, terms=guaranteed)
    assert alone.decision.admitted and not alone.victims and alone.pool.use_seats == 17
    made = run(pool=FULL_OF_SPARE, terms=guaranteed, candidates=preemptible(4))
    assert made.decision.admitted and [victim.name for victim in made.victims] == ["9:0"]
    assert (made.pool.use_seats, made.pool.evicting_seats, made.pool.evictable_seats) == (16, 1, 3)
    beyond = run(
        pool={"use_kv": 1600, "use_seats": 16},
        terms=guaranteed | {"cap_seats": 8},
        mine={"use_seats": 4, "use_kv": 400},
    )
    assert beyond.decision.code == admission.POOL_FULL


def test_an_entitlement_bursts_into_its_own_reserve_not_into_others() -> None:
    dedicated = {"service_class": CLASS_DEDICATED, "base_kv": 400, "base_seats": 4, "limit_seats": 8, "limit_kv": 800}
    own = {"use_seats": 2, "use_kv": 390, "hold_seats": 2, "hold_kv": 10, "hold_strict": 1}
    assert run(
        pool={"use_seats": 14, "use_kv": 900, "hold_seats": 2, "hold_kv": 10}, terms=dedicated, mine=own
    ).decision.admitted
    other = run(pool={"use_seats": 14, "use_kv": 900, "hold_seats": 4, "hold_kv": 10}, terms=dedicated, mine=own)
    assert other.decision.code == admission.POOL_FULL


def test_a_held_request_is_not_refused_yet() -> None:
    result = run(pool={"use_kv": 1600, "use_seats": 16}, ask={"hold_ms": 200})
    assert result.decision.held and result.pool.wait_until_ms == NOW + 200
    assert sum(result.entitlement.refused) == 0 and result.entitlement.streak == 0
    assert result.entitlement.offered_tokens == 100
    again = decide(result.pool, result.entitlement, TERMS, ASK._replace(hold_ms=200), NOW + 50)
    assert again.entitlement.offered_tokens == 100


def test_streaks_grow_with_refusals_and_end_with_an_admission() -> None:
    mine: EntitlementHot = replace(copy_entitlement(MINE), use_seats=8)
    streaks = []
    for number in range(4):
        result = decide(POOL, mine, TERMS, ASK._replace(request_id=f"r{number}"), NOW)
        mine = result.entitlement
        streaks.append(result.decision.streak)
    assert streaks == [0, 1, 2, 3]
    assert decide(POOL, replace(mine, use_seats=0), TERMS, ASK, NOW).entitlement.streak == 0


def test_unknown_pool_or_entitlement() -> None:
    for answer in (decide(None, None, TERMS, ASK, NOW), decide(POOL, None, None, ASK, NOW)):
        assert answer.decision.code == admission.UNKNOWN_ENTITLEMENT and answer.reservation is None


def test_a_bucket_refills_to_its_size_and_not_beyond() -> None:
    mine = replace(copy_entitlement(MINE), bucket_micro=0, minted_micro=0)
    touch_entitlement(mine, TERMS, NOW + 2_500)
    assert mine.bucket_micro == mine.minted_micro == 250 * MICRO
    touch_entitlement(mine, TERMS, NOW + 10**9)
    assert mine.bucket_micro == 1000 * MICRO
    touch_entitlement(mine, TERMS, NOW)  # the clock went back
    assert mine.bucket_micro == 1000 * MICRO


HOLDS = {
    "dedicated keeps all of it": (CLASS_DEDICATED, 50, 1, 0, 3, 1),
    "strict guarantee keeps all of it": (CLASS_GUARANTEED, 0, 1, 0, 3, 0),
    "half of what was not used lately is lent": (CLASS_GUARANTEED, 50, 2, 0, 1, 0),
    "a reserve in recent use is not lent": (CLASS_GUARANTEED, 50, 1, 4, 3, 0),
    "all of it is lent but one sequence": (CLASS_GUARANTEED, 100, 0, 0, 1, 0),
    "elastic holds nothing": (CLASS_ELASTIC, 50, 1, 0, 0, 0),
}


@pytest.mark.parametrize("name", HOLDS)
def test_what_is_held_back(name: str) -> None:
    service_class, lend, use, peak, seats, strict = HOLDS[name]
    terms = replace(TERMS, service_class=service_class, lend_percent=lend, base_kv=400, base_seats=4, sequence_kv=100)
    mine = replace(copy_entitlement(MINE), use_seats=use, use_kv=100 * use, older_seats=peak, older_kv=100 * peak)
    assert hold_of(mine, terms) == (100 * seats, seats, strict)


def test_peaks_are_forgotten_after_a_minute() -> None:
    mine = replace(copy_entitlement(MINE), current_seats=5, current_kv=500)
    for seconds, peak in ((9, 5), (20, 5), (50, 5), (70, 0)):
        touch_entitlement(mine, TERMS, NOW + 1000 * seconds)
        assert max(mine.current_seats, mine.older_seats) == peak, seconds


def test_victims_are_the_cheapest_then_youngest_and_none_is_spare() -> None:
    old, young = Candidate("1:old", 100, 1, 10, 5), Candidate("1:young", 100, 1, 10, 9)
    dear, big = Candidate("2:dear", 100, 1, 90, 99), Candidate("3:big", 400, 4, 50, 7)
    pool = [dear, big, old, young]
    assert [c.name for c in choose_victims(pool, 0, 1).taken] == ["1:young"]
    assert [c.name for c in choose_victims(pool, 200, 0).taken] == ["1:young", "1:old"]
    assert [c.name for c in choose_victims(pool, 0, 4).taken] == ["3:big"]
    assert not choose_victims(pool, 0, 8).enough and choose_victims(pool, 0, 0).taken == ()
