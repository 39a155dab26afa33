"""The periodic tick: from what was measured to the limits, holds and weights the hot path compares against."""

from __future__ import annotations

from pools.mechanism.tick_types import TickInput, TickResult


def tick(given: TickInput) -> TickResult:
    """One tick for every entitlement of a shard of pools. See ``tick_types`` for shapes and units."""
    raise NotImplementedError
