"""Settlement: what was reserved comes back, what was used is charged, exactly once. Source: Token Pools design,
section 5.

minted = bucket + reserved + charged + spilled holds in micro-tokens before and after every deed here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from pools.mechanism.accrual import copy_entitlement, rehold, touch_entitlement, touch_pool
from pools.mechanism.hot import (
    EVICTED,
    EXPIRED,
    MICRO,
    SETTLED,
    WRAP,
    EntitlementHot,
    PoolHot,
    Reservation,
    Terms,
)

CHARGE_RESERVED = -1
FOLD_TOKENS = 1 << 31
OUTCOME_COMPLETED = 0
UNLIMITED_MICRO = 1 << 50


class Settlement(NamedTuple):
    """How a request ended. ``actual_tokens`` is the charge (weights applied), −1 charges the reservation.

    ``outcome`` and ``source`` are positions in ``pools.counters.types.OUTCOMES`` and ``SOURCES``.
    """

    pool_id: int
    entitlement_id: int
    request_id: str
    actual_tokens: int
    outcome: int = OUTCOME_COMPLETED
    source: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    prompt_bytes: int = 0
    ttft_ms: int = 0
    duration_ms: int = 0
    endpoint_id: int = 0


class Settled(NamedTuple):
    """``status``: 1 settled just now, 2 had been settled or expired before (its stored figures), 0 unknown id."""

    status: int
    charged_tokens: int
    refunded_tokens: int
    spilled_tokens: int
    overrun_tokens: int
    remaining_tokens: int


@dataclass(frozen=True, slots=True)
class Closing:
    """New states beside the answer; ``reservation`` is the finished one."""

    pool: PoolHot
    entitlement: EntitlementHot
    reservation: Reservation | None
    settled: Settled
    release: bool = False


def settle(
    pool: PoolHot,
    entitlement: EntitlementHot,
    terms: Terms,
    reservation: Reservation | None,
    actual_tokens: int,
    outcome: int,
    now_ms: int,
    *,
    final_status: int = SETTLED,
) -> Closing:
    """Close one reservation; a second call changes nothing and gives the first one's figures."""
    if reservation is None:
        return Closing(pool, entitlement, None, Settled(0, 0, 0, 0, 0, 0))
    if reservation.status > EVICTED:
        refunded = max(0, reservation.tokens - reservation.charged_tokens)
        remaining = entitlement.bucket_micro // MICRO
        return Closing(pool, entitlement, reservation, _figures(2, reservation, refunded, remaining))
    house, mine = replace(pool), copy_entitlement(entitlement)
    touch_pool(house, now_ms)
    touch_entitlement(mine, terms, now_ms)
    actual = reservation.tokens if actual_tokens < 0 else actual_tokens
    spilled = _charge(mine, terms, reservation, actual, now_ms)
    if outcome == OUTCOME_COMPLETED:
        _learn(house, mine, reservation, actual, now_ms - reservation.started_ms)
    _free(house, mine, reservation)
    rehold(house, mine, terms)
    done = replace(
        reservation,
        status=final_status,
        charged_tokens=actual,
        spilled_micro=spilled,
        overrun_tokens=max(0, actual - reservation.tokens),
    )
    house.sequence += 1
    if final_status == EXPIRED:
        house.expired += 1
    else:
        house.settled += 1
    answer = _figures(1, done, max(0, reservation.tokens - actual), mine.bucket_micro // MICRO)
    return Closing(house, mine, done, answer, release=house.wait_until_ms > now_ms)


def _figures(status: int, done: Reservation, refunded: int, remaining: int) -> Settled:
    return Settled(status, done.charged_tokens, refunded, done.spilled_micro // MICRO, done.overrun_tokens, remaining)


def _charge(mine: EntitlementHot, terms: Terms, reservation: Reservation, actual: int, now_ms: int) -> int:
    """Move tokens from reserved to charged and back to the bucket; returns what spilled over its rim."""
    mine.bucket_micro += (reservation.tokens - actual) * MICRO
    spilled = max(0, mine.bucket_micro - terms.bucket_size_micro)
    mine.bucket_micro -= spilled
    mine.spilled_micro += spilled
    mine.reserved_tokens -= reservation.tokens
    mine.charged_tokens += actual
    if mine.charged_tokens > FOLD_TOKENS:
        mine.minted_micro -= mine.charged_tokens * MICRO + mine.spilled_micro
        mine.charged_tokens = mine.spilled_micro = 0
    accrued = reservation.worked_micro + reservation.work_rate * (now_ms - reservation.worked_at_ms)
    mine.work_micro = (mine.work_micro + actual * MICRO - accrued) % WRAP
    mine.work_rate -= reservation.work_rate
    return spilled


def _learn(pool: PoolHot, mine: EntitlementHot, done: Reservation, actual: int, service_ms: int) -> None:
    """Running means (weight 1/8, pool 1/16) of what completed requests cost, were charged, held and took."""
    mine.mean_charge_micro = running_mean(mine.mean_charge_micro, actual * MICRO, 8)
    mine.mean_cost_micro = running_mean(mine.mean_cost_micro, done.tokens * MICRO, 8)
    mine.mean_kv = running_mean(mine.mean_kv, done.kv, 8)
    mine.mean_service_us = running_mean(mine.mean_service_us, service_ms * 1000, 8)
    pool.mean_service_us = running_mean(pool.mean_service_us, service_ms * 1000, 16)


def running_mean(mean: int, value: int, weight: int) -> int:
    """Exponential mean that starts at the first value; 0 means none yet."""
    return mean + (value - mean) // weight if mean else value


def _free(pool: PoolHot, mine: EntitlementHot, reservation: Reservation) -> None:
    mine.use_kv -= reservation.kv
    mine.use_seats -= reservation.seats
    if reservation.status == EVICTED:
        pool.evicting_kv -= reservation.kv
        pool.evicting_seats -= reservation.seats
    else:
        pool.use_kv -= reservation.kv
        pool.use_seats -= reservation.seats
        if reservation.rank == 3:
            pool.evictable_kv -= reservation.kv
            pool.evictable_seats -= reservation.seats
    calm_kv = pool.use_kv <= pool.capacity_kv - 2 * pool.margin_kv
    if calm_kv and pool.use_seats <= pool.capacity_seats - 2 * pool.margin_seats:
        pool.contended = 0


def expire(pool: PoolHot, entitlement: EntitlementHot, terms: Terms, reservation: Reservation, now_ms: int) -> Closing:
    """Close a reservation whose lease ran out: charged what it streamed if that is known, else all it reserved."""
    streamed = reservation.streamed_tokens if reservation.streamed_tokens > 0 else CHARGE_RESERVED
    return settle(pool, entitlement, terms, reservation, streamed, -1, now_ms, final_status=EXPIRED)


def heartbeat(
    entitlement: EntitlementHot,
    terms: Terms,
    reservation: Reservation,
    streamed_tokens: int,
    lease_ms: int,
    now_ms: int,
) -> tuple[EntitlementHot, Reservation]:
    """Extend the lease and put the spread of the work right by what was streamed (in charged tokens) so far."""
    mine = copy_entitlement(entitlement)
    touch_entitlement(mine, terms, now_ms)
    alive = replace(reservation, expires_ms=max(reservation.expires_ms, now_ms + lease_ms))
    if streamed_tokens > reservation.streamed_tokens:
        accrued = reservation.worked_micro + reservation.work_rate * (now_ms - reservation.worked_at_ms)
        mine.work_micro = (mine.work_micro + streamed_tokens * MICRO - accrued) % WRAP
        alive = replace(
            alive, worked_micro=streamed_tokens * MICRO, worked_at_ms=now_ms, streamed_tokens=streamed_tokens
        )
    return mine, alive
