"""The tick's state survives bytes and a changing set of entitlements."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from pools.mechanism.tick_state import KeptState, align, pack, unpack
from pools.mechanism.tick_types import NEVER_S, TickState
from tests.mechanism.worlds import World, row0


def kept() -> KeptState:
    rows = (row0(debt=0.1), row0(debt=0.2, offered_tokens=900.0, refused=1.0), row0(debt=0.3))
    state = World((rows[:2], rows[2:]), ((60.0, 1e9, 4.0),) * 2, debt_step=False).fast().state
    return KeptState((11, 12, 13), (1, 2), state)


def test_bytes_and_back() -> None:
    before, after = kept(), unpack(pack(kept()))
    assert (after.entitlement_ids, after.pool_ids) == (before.entitlement_ids, before.pool_ids)
    for item in fields(TickState):
        np.testing.assert_array_equal(getattr(after.state, item.name), getattr(before.state, item.name))


@pytest.mark.parametrize("broken", [b"", b"not an archive", pack(kept())[:50]], ids=["empty", "text", "cut off"])
def test_broken_bytes_are_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match="not a packed tick state"):
        unpack(broken)


def test_align_keeps_known_rows_and_starts_new_ones_fresh() -> None:
    state = align(kept(), [13, 99, 12], [2, 5])
    assert state.debt.tolist() == [0.3, 0.0, 0.2]
    assert state.since_refused_s.tolist()[1:] == [NEVER_S, 0.0]
    assert state.window_s.tolist() == [5.0, 0.0]
    assert state.demand.shape == (3, 3)
    assert state.rotation == 1


def test_align_of_the_same_set_changes_nothing() -> None:
    before = kept()
    assert align(before, [11, 12, 13], [1, 2]) is before.state
    assert align(before, [], []).debt.shape == (0,)
