"""Retry-After: never at once, never for ever, growing with a streak; estimates in whole milliseconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.mechanism import retry
from pools.mechanism.hot import PoolHot

CASES = {
    "short waits are a second": ((0, 0, 0.0), (1, 1000)),
    "rounded up": ((1500, 0, 0.0), (2, 1500)),
    "jitter adds at most a quarter": ((4000, 0, 0.5), (5, 4500)),
    "a streak doubles": ((1000, 3, 0.0), (8, 8000)),
    "four times at most": ((1000, 30, 0.0), (16, 16000)),
    "a minute at most": ((10**9, 4, 0.9), (60, 60000)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_wait_to_announce(name: str) -> None:
    given_values, wanted = CASES[name]
    assert tuple(retry.retry_after(*given_values)) == wanted


@given(st.integers(0, 10**7), st.integers(0, 40), st.floats(0, 1, exclude_max=True))
def test_waits_are_one_to_sixty_seconds_and_agree(wait_ms: int, streak: int, jitter: float) -> None:
    answer = retry.retry_after(wait_ms, streak, jitter)
    assert 1 <= answer.seconds <= 60 and 1000 <= answer.milliseconds <= 60_000
    assert (answer.seconds - 1) * 1000 < answer.milliseconds <= answer.seconds * 1000


def test_jitter_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="jitter"):
        retry.retry_after(1, 0, 1.0)


def test_estimates() -> None:
    pool = PoolHot(mean_service_us=4_000_000, use_seats=3, next_tick_ms=1_500)
    assert retry.releases_wait(pool, 2, 3) == 2000
    assert retry.releases_wait(PoolHot(), 1, 0) == retry.DEFAULT_SERVICE_MS
    assert retry.refill_wait(1_000_001, 1000) == 1001 and retry.refill_wait(1, 0) == retry.LONGEST_WAIT_MS
    assert retry.tick_wait(pool, 1_000) == 500 + 1000
    assert retry.releases_for(3 << 20, 8 << 20, 4) == 2 and retry.releases_for(1, 0, 0) == 1
