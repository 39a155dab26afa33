"""Short games found and shrunk by hypothesis: any order of deeds keeps the store and the reference equal."""

from __future__ import annotations

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pools.counters.library import library_text
from tests.counters.play import Play

DEEDS = ("reserve", "settle", "beat", "reap", "limits", "resize", "terms", "wait")


@pytest.fixture(scope="module")
def clocked(valkey_client: redis.Redis) -> redis.Redis:
    return valkey_client


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**20), deeds=st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(1, 6)), max_size=40))
def test_any_order_of_deeds(clocked: redis.Redis, seed: int, deeds: list[tuple[str, int]]) -> None:
    clocked.flushall()
    clocked.function_load(library_text(test_clock=True), replace=True)
    play = Play(clocked, seed, calm=False)
    for deed, size in deeds:
        play.do(deed, size)
        play.flush()
    play.finish()
    clocked.flushall()
