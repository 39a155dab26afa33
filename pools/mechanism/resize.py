"""What a new capacity record does to a pool at once: preemptible work above it is evicted, contention is judged anew.

Source: Token Pools design, sections 7 and 8; nothing in flight is cut except preemptible work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from pools.mechanism.accrual import touch_pool
from pools.mechanism.admission import evict
from pools.mechanism.hot import PoolHot
from pools.mechanism.victims import Candidate, choose_victims


class CapacityRecord(NamedTuple):
    """The fields of PoolHot the tick writes, in their order, then a first guess of the mean service time."""

    capacity_kv: int
    capacity_seats: int
    ready_replicas: int
    margin_kv: int
    margin_seats: int
    draining_kv: int = 0
    draining_seats: int = 0
    capacity_version: int = 0
    next_tick_ms: int = 0
    mode: int = 0
    mean_service_us: int = 0


def resize(
    pool: PoolHot, record: CapacityRecord, now_ms: int, candidates: Sequence[Candidate] = ()
) -> tuple[PoolHot, tuple[Candidate, ...]]:
    """The pool under a new record, and the preemptible reservations that had to go."""
    house = replace(pool)
    touch_pool(house, now_ms)
    values = record._asdict()
    first_guess = values.pop("mean_service_us")
    house = replace(house, **values, mean_service_us=house.mean_service_us or first_guess)
    choice = choose_victims(candidates, house.use_kv - house.capacity_kv, house.use_seats - house.capacity_seats)
    evict(house, choice)
    tight = (
        house.use_kv > house.capacity_kv - house.margin_kv,
        house.use_seats > house.capacity_seats - house.margin_seats,
    )
    if any(tight):
        house.contended = 1
    elif house.use_kv <= house.capacity_kv - 2 * house.margin_kv and (
        house.use_seats <= house.capacity_seats - 2 * house.margin_seats
    ):
        house.contended = 0
    return house, choice.taken
