"""Settlement: the books balance to the millionth of a token, an overrun is remembered, once is once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.mechanism.admission import Ask, decide
from pools.mechanism.hot import EXPIRED, MICRO, EntitlementHot, PoolHot, Reservation, Terms
from pools.mechanism.settlement import FOLD_TOKENS, expire, heartbeat, settle

NOW = 1_700_000_000_000
POOL = PoolHot(at_ms=NOW, capacity_kv=1600, capacity_seats=16, ready_replicas=1, margin_kv=100, margin_seats=1)
TERMS = Terms(
    cap_kv=800, cap_seats=8, refill_milli=100_000, bucket_size_micro=1000 * MICRO, limit_kv=800, limit_seats=8
)


def admitted(tokens: int = 200) -> tuple[PoolHot, EntitlementHot, Reservation]:
    result = decide(POOL, None, TERMS, Ask(1, 1, "r", tokens, 100), NOW)
    assert result.reservation is not None
    return result.pool, result.entitlement, result.reservation


def balanced(mine: EntitlementHot) -> bool:
    held = (mine.reserved_tokens + mine.charged_tokens) * MICRO
    return mine.minted_micro == mine.bucket_micro + held + mine.spilled_micro


CASES = {  # actual tokens, milliseconds later: charged, refunded, overrun, spilled tokens, bucket tokens
    "used less": ((150, 0), (150, 50, 0, 0, 850)),
    "used all": ((200, 0), (200, 0, 0, 0, 800)),
    "used more": ((260, 0), (260, 0, 60, 0, 740)),
    "far more: the bucket owes": ((1500, 0), (1500, 0, 1300, 0, -500)),
    "the engine said nothing": ((-1, 0), (200, 0, 0, 0, 800)),
    "refilled meanwhile: the refund spills": ((150, 10_000), (150, 50, 0, 50, 1000)),
    "never ran": ((0, 0), (0, 200, 0, 0, 1000)),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_charged(name: str) -> None:
    (actual, later), wanted = CASES[name]
    pool, mine, lease = admitted()
    closing = settle(pool, mine, TERMS, lease, actual, 0, NOW + later)
    answer = closing.settled
    assert (
        answer.charged_tokens, answer.refunded_tokens, answer.overrun_tokens, answer.spilled_tokens,
        answer.remaining_tokens,
    ) == wanted  # fmt: skip
    assert balanced(closing.entitlement) and closing.pool.use_seats == closing.entitlement.use_seats == 0
    again = settle(closing.pool, closing.entitlement, TERMS, closing.reservation, 7, 0, NOW + later)
    assert again.settled.status == 2 and again.settled.charged_tokens == answer.charged_tokens
    assert again.pool == closing.pool and again.entitlement == closing.entitlement
    assert closing.entitlement.work_micro == answer.charged_tokens * MICRO and closing.entitlement.work_rate == 0


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 1500), st.integers(0, 20_000)), max_size=30))
def test_the_books_balance_after_any_run(run: list[tuple[int, int, int]]) -> None:
    pool, mine, now = POOL, EntitlementHot(), NOW
    for number, (tokens, actual, wait) in enumerate(run):
        result = decide(pool, mine, TERMS, Ask(1, 1, f"r{number}", tokens, 1), now)
        pool, mine = result.pool, result.entitlement
        now += wait
        if result.reservation is not None:
            closing = settle(pool, mine, TERMS, result.reservation, actual, 0, now)
            pool, mine = closing.pool, closing.entitlement
        assert balanced(mine) and mine.bucket_micro <= TERMS.bucket_size_micro


def test_a_lease_that_runs_out_is_charged_what_it_streamed_or_all() -> None:
    pool, mine, lease = admitted()
    assert expire(pool, mine, TERMS, lease, NOW + 90_000).settled.charged_tokens == 200
    mine, lease = heartbeat(mine, TERMS, lease, 42, 60_000, NOW + 5_000)
    assert lease.expires_ms == NOW + 65_000
    closing = expire(pool, mine, TERMS, lease, NOW + 90_000)
    assert closing.settled.charged_tokens == 42 and closing.reservation is not None
    assert closing.reservation.status == EXPIRED and closing.pool.expired == 1


def test_heartbeats_put_the_spread_of_work_right() -> None:
    _, mine, lease = admitted()
    mine, lease = heartbeat(mine, TERMS, lease, 50, 60_000, NOW + 1)
    assert mine.work_micro == 50 * MICRO
    mine, lease = heartbeat(mine, TERMS, lease, 40, 60_000, NOW + 1)  # late news changes nothing
    assert mine.work_micro == 50 * MICRO and lease.streamed_tokens == 50


def test_sums_are_folded_before_they_lose_exactness() -> None:
    pool, mine, lease = admitted()
    mine = replace(mine, charged_tokens=FOLD_TOKENS, minted_micro=mine.minted_micro + FOLD_TOKENS * MICRO)
    closing = settle(pool, mine, TERMS, lease, 150, 0, NOW)
    assert closing.entitlement.charged_tokens == 0 and balanced(closing.entitlement)
