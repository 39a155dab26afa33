"""The function library against the reference, over more than 100,000 random deeds."""

from __future__ import annotations

import pytest
import redis

from pools.counters.library import library_text
from tests.counters.play import Play

DEEDS = 13_000


@pytest.fixture
def clocked(valkey: redis.Redis) -> redis.Redis:
    """A store whose time is a key."""
    valkey.function_load(library_text(test_clock=True), replace=True)
    return valkey


@pytest.mark.parametrize("seed", range(8))
def test_store_and_reference_agree_bit_for_bit(clocked: redis.Redis, seed: int) -> None:
    play = Play(clocked, seed, calm=seed % 2 == 0)
    while play.deeds < DEEDS:
        for _ in range(100):
            play.step()
        play.flush()
    play.finish()
    assert len(play.world.evicted) > 0 and play.world.events > 1000
