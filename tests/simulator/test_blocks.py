"""The block pool: what is taken is held once, what is given back may be found again until it is overwritten."""

from __future__ import annotations

import pytest

from pools.simulator.blocks import BlockPool


def test_takes_all_or_nothing() -> None:
    pool = BlockPool(3)
    assert pool.take(4) is None
    assert pool.free == 3
    assert len(pool.take(3) or []) == 3
    assert (pool.free, pool.used, pool.usage) == (0, 3, 1.0)


def test_a_freed_block_is_found_by_its_content_until_it_is_overwritten() -> None:
    pool = BlockPool(2)
    taken = pool.take(2) or []
    pool.publish(taken[0], "a")
    pool.publish(taken[1], "b")
    pool.give_back(taken)
    assert pool.find(["a", "b"]) == taken
    pool.take(1)  # overwrites the end of the sequence first
    assert pool.find(["a", "b"]) == taken[:1]


def test_a_shared_block_is_free_only_when_the_last_holder_lets_go() -> None:
    pool = BlockPool(2)
    (block,) = pool.take(1) or []
    pool.share([block])
    pool.give_back([block])
    assert pool.used == 1
    pool.give_back([block])
    assert pool.used == 0


def test_giving_back_what_nobody_holds_is_an_error() -> None:
    with pytest.raises(ValueError, match="nobody holds it"):
        BlockPool(2).give_back([0])
