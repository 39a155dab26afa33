"""Stories of several people on one pool, on real stores, with the counters' clock in the test's hand."""

from __future__ import annotations

import pytest

from pools.choices import Refusal
from pools.counters.types import Ask, Settlement
from pools.mechanism.admission import Decision
from pools.models import Entitlement
from pools.services.store import counters
from pools.services.tick import shard_tick
from tests.cast import KV_TOKEN, World, world_make
from tests.services.conftest import StoreClock, store_clock

__all__ = ["store_clock"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def world(store_clock: StoreClock) -> World:
    return world_make(begin=store_clock.begin)


def ask(row: Entitlement, request_id: str, tokens: int = 64) -> Decision:
    return counters().reserve(Ask(row.pool_id, row.pk, request_id, tokens, tokens * KV_TOKEN))


def end(row: Entitlement, request_id: str, tokens: int = 64) -> None:
    counters().settle(Settlement(row.pool_id, row.pk, request_id, tokens))


def seconds(world: World, clock: StoreClock, count: int) -> None:
    for _ in range(count):
        shard_tick(0, [world.pool.pk], clock.move(1))


def test_bobs_spot_burst_never_touches_alices_guarantee(world: World, store_clock: StoreClock) -> None:
    """Bob takes all he can get, again and again; whenever Alice comes, her six slots are there."""
    seconds(world, store_clock, 2)
    running: list[str] = []
    for turn in range(6):
        # Alice keeps using her slots, so what she has in use is not lent.
        mine = [f"a{turn}-{number}" for number in range(6)]
        assert all(ask(world.alice, request_id).admitted for request_id in mine), f"turn {turn}"
        running += [name for name in (f"b{turn}-{n}" for n in range(20)) if ask(world.bob, name).admitted]
        pool = counters().snapshot(world.pool.pk).pool
        assert pool.use_seats <= 16
        seconds(world, store_clock, 3)
        for request_id in mine:
            end(world.alice, request_id)
        seconds(world, store_clock, 1)
    assert running, "Bob did get what was left"
    refused = ask(world.bob, "one-more")
    assert Refusal(refused.code) in {Refusal.POOL_FULL, Refusal.LOW_PRIORITY, Refusal.CONCURRENCY, Refusal.TOKEN_BUDGET}


def test_what_nobody_uses_bob_may_use(world: World, store_clock: StoreClock) -> None:
    seconds(world, store_clock, 70)  # nobody came for a minute: idle reserve may be lent
    got = sum(ask(world.bob, f"b{number}").admitted for number in range(16))
    assert got > 16 - 6 - 1, "half of Alice's idle reserve is lent"
    assert ask(world.alice, "a1").admitted, "her own reservation pays for itself"


def test_eve_gets_her_promise_before_bob_gets_anything_more(world: World, store_clock: StoreClock) -> None:
    """Nobody has ever seen a request of Eve's: her first refusals alone must be enough to make room for her."""
    for number in range(6):
        assert ask(world.alice, f"a{number}").admitted
    bobs = [name for name in (f"b{number}" for number in range(16)) if ask(world.bob, name).admitted]
    seconds(world, store_clock, 3)
    eves = 0
    for second in range(60):
        if bobs and second % 4 == 3:
            end(world.bob, bobs.pop())
            ask(world.bob, f"again{second}")
        eves += sum(ask(world.eve, f"e{second}-{number}").admitted for number in range(2))
        seconds(world, store_clock, 1)
    snapshot = counters().snapshot(world.pool.pk)
    use = dict(zip(snapshot.entitlement_ids.tolist(), snapshot.column("use_seats").tolist(), strict=True))
    assert use[world.eve.pk] >= 5, f"{eves} admitted, in use {use}"
    assert use[world.alice.pk] == 6


def test_the_books_balance_whatever_happens(world: World, store_clock: StoreClock) -> None:
    """Tokens minted = in the bucket + reserved + charged + spilled, for everybody, at the end of a busy minute."""
    for second in range(30):
        for row in (world.alice, world.eve, world.bob):
            ask(row, f"{row.pk}-{second}")
            if second >= 4:
                end(row, f"{row.pk}-{second - 4}", 40 + second)
        seconds(world, store_clock, 1)
    snapshot = counters().snapshot(world.pool.pk)
    minted = snapshot.column("minted_micro")
    parts = snapshot.column("bucket_micro") + snapshot.column("spilled_micro")
    whole = snapshot.column("reserved_tokens") + snapshot.column("charged_tokens")
    assert (minted == parts + whole * 1_000_000).all()
