"""A kept tick answers again, to the last bit, pool by pool."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from pools.mechanism.tick import tick
from pools.mechanism.tick_record import WIDTH, pack, unpack
from tests.mechanism.worlds import World, worlds

SAME = ("limit", "assured", "weight", "debt", "burst", "demand", "kept", "holds", "headroom", "stages", "bucket_size")


@given(worlds(modes=("strict", "paper"), fills=("max_min", "drf")))
@settings(max_examples=150, deadline=None)
def test_one_pool_alone_decides_as_it_did_in_its_shard(world: World) -> None:
    shard = world.as_input()
    whole = tick(shard)
    ids = np.arange(100, 100 + len(world.rows))
    for index in range(len(world.pools)):
        rows = np.flatnonzero(shard.entitlements.pool == index)
        span = slice(int(rows[0]), int(rows[-1]) + 1) if rows.size else slice(0, 0)
        packed = pack(shard, index, span, ids[rows], 7 + index, 1234)
        assert len(packed) <= 1000 + 8 * WIDTH * rows.size, "about 300 bytes an entitlement"
        record = unpack(packed)
        assert (record.pool_id, record.at_ms, record.ids.tolist()) == (7 + index, 1234, ids[rows].tolist())
        again = tick(record.given)
        if shard.settings.fill == "drf":  # its steps of one pool wait for those of the others: equal, not identical
            np.testing.assert_allclose(again.limit[:, :2], whole.limit[rows, :2], rtol=1e-9, atol=1.0)
            continue
        for name in SAME:
            assert np.array_equal(getattr(again, name), getattr(whole, name)[rows]), name
        assert np.array_equal(again.pool_headroom[0], whole.pool_headroom[index])


@pytest.mark.parametrize("text", [b"", b"nonsense", b"\0\0\0\2{}", b'\0\0\0\7{"v":9}', b"\0\0\0\2[]"])
def test_other_bytes_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a tick record"):
        unpack(text)
