"""Admission: may this request start now, and if not, what binds and how long to wait. The reference the hot store is
tested against.

Whole numbers only, so that the function library in the store gives the same answer bit for bit. Steps as in the Token
Pools design, section 4; the three-dimensional check against promises is from the paper (arXiv 2603.00356).

How eviction is counted: a victim leaves ``use`` of the pool (and enters ``evicting``) in the step that chooses it, so
its room is given away once; its entitlement keeps it in its own use until the gateway has settled it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from pools.mechanism import retry
from pools.mechanism.accrual import copy_entitlement, offer_tag, rehold, take_offer, touch_entitlement, touch_pool
from pools.mechanism.hot import (
    LEASE_BUCKET_MS,
    LIVE,
    MICRO,
    OFFER_TAG_BYTES,
    STATE_BOUND,
    STATE_DEGRADED,
    STATE_EXPIRED,
    STATE_SUSPENDED,
    EntitlementHot,
    PoolHot,
    Reservation,
    Terms,
)
from pools.mechanism.victims import Candidate, Choice, choose_victims

(SUSPENDED, EXPIRED, PENDING, DEGRADED, NEVER_FITS, CONCURRENCY) = range(1, 7)
(TOKEN_BUDGET, KV_BUDGET, POOL_FULL, NO_CAPACITY, LOW_PRIORITY, UNKNOWN_ENTITLEMENT) = range(7, 13)
"""The numbers of ``pools.choices.Refusal``."""
DIMENSION_NONE, DIMENSION_TOKENS, DIMENSION_KV, DIMENSION_SEATS = range(4)
LARGEST_RATE = 100_000_000
LARGEST_STREAK = 30


class Ask(NamedTuple):
    """One request at the door. ``tokens`` is its whole cost in charged tokens; ``offer_id`` is the same for retries
    of one
    offer (empty: the request id). ``hold_ms`` > 0: the caller waits for room that long, a refusal for room is not
    counted yet.
    """

    pool_id: int
    entitlement_id: int
    request_id: str
    tokens: int
    kv_bytes: int
    concurrency: int = 1
    lease_ms: int = 60_000
    hold_ms: int = 0
    key_id: int = 0
    offer_id: str = ""


class Decision(NamedTuple):
    """The answer. ``code`` is a Refusal number, 0 when admitted; ``dimension`` 0 none, 1 tokens, 2 kv_bytes, 3
    concurrency.

    ``use`` and ``limit`` belong to the binding limit: for ``never_fits`` what was asked and the cap, for
    ``token_budget`` the tokens in the bucket and its size, else use and limit of the entitlement or pool. ``wait_ms``
    and ``streak`` go to ``retry.retry_after``. ``known``: this request id was decided before; ``finished``: and has
    ended since. ``held``: ask again when the release channel speaks.
    """

    admitted: bool
    code: int
    dimension: int
    known: bool
    finished: bool
    contended: bool
    held: bool
    victims: int
    streak: int
    wait_ms: int
    use: int
    limit: int
    remaining_tokens: int
    bucket_tokens: int
    refill_milli: int
    use_concurrency: int
    cap_concurrency: int
    expires_at_ms: int
    capacity_version: int


@dataclass(frozen=True, slots=True)
class Admission:
    """New states beside the decision; ``reservation`` is None unless it was admitted just now."""

    pool: PoolHot
    entitlement: EntitlementHot
    decision: Decision
    reservation: Reservation | None = None
    victims: tuple[Candidate, ...] = ()


class Refused(NamedTuple):
    code: int
    dimension: int
    use: int
    limit: int
    wait_ms: int


def decide(
    pool: PoolHot | None,
    entitlement: EntitlementHot | None,
    terms: Terms | None,
    ask: Ask,
    now_ms: int,
    *,
    known: Reservation | None = None,
    candidates: Sequence[Candidate] = (),
) -> Admission:
    """Steps 0 to 9 for one request; nothing given is changed.

    ``entitlement`` None is one never touched (its bucket starts full); ``candidates`` are the live preemptible
    reservations. A refusal changes only running sums (refill, refusals, offered); all or nothing otherwise.
    """
    if pool is None or terms is None:
        decision = Decision(
            False, UNKNOWN_ENTITLEMENT, 0, False, False, False, False, 0, 0, retry.STORE_WAIT_MS, *(0,) * 9
        )
        return Admission(pool or PoolHot(), entitlement or EntitlementHot(), decision)
    mine = copy_entitlement(entitlement or EntitlementHot())
    house = replace(pool)
    touch_entitlement(mine, terms, now_ms)
    if known is not None:
        return Admission(house, copy_entitlement(entitlement or EntitlementHot()), _repeat(house, mine, terms, known))
    touch_pool(house, now_ms)
    tag = offer_tag(ask.offer_id or ask.request_id)
    new_offer = take_offer(mine, tag, ask.tokens)
    contended, choice, refused = _judge(house, mine, terms, ask, now_ms, candidates)
    if refused is not None:
        if new_offer:
            mine.offers = mine.offers[OFFER_TAG_BYTES:] + tag
        return _refuse(pool, house, mine, terms, ask, now_ms, refused, contended)
    return _admit(house, mine, terms, ask, now_ms, choice, contended)


def _judge(
    pool: PoolHot, mine: EntitlementHot, terms: Terms, ask: Ask, now_ms: int, candidates: Sequence[Candidate]
) -> tuple[bool, Choice, Refused | None]:
    """(contended, victims, refusal or None)."""
    own = _own_limits(pool, mine, terms, ask, now_ms)
    nobody = Choice((), 0, 0, True)
    if own is not None:
        return bool(pool.contended), nobody, own
    after_kv, after_seats = pool.use_kv + ask.kv_bytes, pool.use_seats + ask.concurrency
    rank = terms.rank
    if (
        rank == 0
        and mine.use_kv + ask.kv_bytes <= terms.base_kv
        and mine.use_seats + ask.concurrency <= terms.base_seats
    ):
        choice = choose_victims(candidates, after_kv - pool.capacity_kv, after_seats - pool.capacity_seats)
        return _contended(pool, after_kv - choice.kv, after_seats - choice.seats), choice, None
    if pool.ready_replicas <= 0:
        return False, nobody, Refused(NO_CAPACITY, 0, 0, 0, retry.NO_CAPACITY_WAIT_MS)
    room_kv, room_seats = room(pool, mine, rank)
    need_kv, need_seats = after_kv - room_kv, after_seats - room_seats
    choice = nobody
    if need_kv > 0 or need_seats > 0:
        if rank < 3 and need_kv <= pool.evictable_kv and need_seats <= pool.evictable_seats:
            choice = choose_victims(candidates, need_kv, need_seats)
        if not choice.taken or not choice.enough:
            return bool(pool.contended), nobody, _pool_full(pool, need_kv, need_seats, room_kv, room_seats)
    contended = _contended(pool, after_kv - choice.kv, after_seats - choice.seats)
    if contended:
        wait = retry.tick_wait(pool, now_ms)
        if mine.use_seats + ask.concurrency > terms.limit_seats:
            return True, nobody, Refused(LOW_PRIORITY, DIMENSION_SEATS, mine.use_seats, terms.limit_seats, wait)
        if mine.use_kv + ask.kv_bytes > terms.limit_kv:
            return True, nobody, Refused(LOW_PRIORITY, DIMENSION_KV, mine.use_kv, terms.limit_kv, wait)
    return contended, choice, None


def _own_limits(pool: PoolHot, mine: EntitlementHot, terms: Terms, ask: Ask, now_ms: int) -> Refused | None:
    """Steps 1 to 5: what the entitlement itself allows."""
    if terms.state == STATE_EXPIRED or 0 < terms.valid_until_ms <= now_ms:
        return Refused(EXPIRED, 0, 0, 0, 0)
    if terms.state == STATE_SUSPENDED:
        return Refused(SUSPENDED, 0, 0, 0, 0)
    if terms.state != STATE_BOUND:
        code = DEGRADED if terms.state == STATE_DEGRADED else PENDING
        return Refused(code, 0, 0, 0, retry.NO_CAPACITY_WAIT_MS)
    micro = ask.tokens * MICRO
    if ask.concurrency > terms.cap_seats:
        return Refused(NEVER_FITS, DIMENSION_SEATS, ask.concurrency, terms.cap_seats, 0)
    if micro > terms.bucket_size_micro:
        return Refused(NEVER_FITS, DIMENSION_TOKENS, ask.tokens, terms.bucket_size_micro // MICRO, 0)
    if ask.kv_bytes > terms.cap_kv:
        return Refused(NEVER_FITS, DIMENSION_KV, ask.kv_bytes, terms.cap_kv, 0)
    seats_over = mine.use_seats + ask.concurrency - terms.cap_seats
    if seats_over > 0:
        wait = retry.releases_wait(pool, seats_over, mine.use_seats)
        return Refused(CONCURRENCY, DIMENSION_SEATS, mine.use_seats, terms.cap_seats, wait)
    if mine.bucket_micro < micro:
        wait = retry.refill_wait(micro - mine.bucket_micro, terms.refill_milli)
        size = terms.bucket_size_micro // MICRO
        return Refused(TOKEN_BUDGET, DIMENSION_TOKENS, mine.bucket_micro // MICRO, size, wait)
    kv_over = mine.use_kv + ask.kv_bytes - terms.cap_kv
    if kv_over > 0:
        wait = retry.releases_wait(pool, retry.releases_for(kv_over, mine.use_kv, mine.use_seats), mine.use_seats)
        return Refused(KV_BUDGET, DIMENSION_KV, mine.use_kv, terms.cap_kv, wait)
    return None


def room(pool: PoolHot, mine: EntitlementHot, rank: int) -> tuple[int, int]:
    """What use of the pool may reach (KV bytes, sequences): capacity less what is held back for others."""
    if rank == 3:
        held_kv, held_seats = pool.strict_hold_kv, pool.strict_hold_seats
    else:
        held_kv, held_seats = pool.hold_kv - mine.hold_kv, pool.hold_seats - mine.hold_seats
    return (
        pool.capacity_kv - pool.draining_kv - held_kv,
        pool.capacity_seats - pool.draining_seats - held_seats,
    )


def _pool_full(pool: PoolHot, need_kv: int, need_seats: int, room_kv: int, room_seats: int) -> Refused:
    if need_seats > 0:
        wait = retry.releases_wait(pool, need_seats, pool.use_seats)
        return Refused(POOL_FULL, DIMENSION_SEATS, pool.use_seats, max(0, room_seats), wait)
    wait = retry.releases_wait(pool, retry.releases_for(need_kv, pool.use_kv, pool.use_seats), pool.use_seats)
    return Refused(POOL_FULL, DIMENSION_KV, pool.use_kv, max(0, room_kv), wait)


def _contended(pool: PoolHot, kv: int, seats: int) -> bool:
    """Contended above capacity − margin; once so, until use is at most capacity − 2 x margin."""
    factor = 1
    if pool.contended:
        factor = 2
    return kv > pool.capacity_kv - factor * pool.margin_kv or seats > pool.capacity_seats - factor * pool.margin_seats


def _answer(
    pool: PoolHot, mine: EntitlementHot, terms: Terms, refused: Refused, *, contended: bool, held: bool
) -> Decision:
    return Decision(
        False, refused.code, refused.dimension, False, False, contended, held, 0, mine.streak,
        refused.wait_ms, refused.use, refused.limit, *_figures(mine, terms), 0, pool.capacity_version,
    )  # fmt: skip


def _figures(mine: EntitlementHot, terms: Terms) -> tuple[int, int, int, int, int]:
    return (
        mine.bucket_micro // MICRO,
        terms.bucket_size_micro // MICRO,
        terms.refill_milli,
        mine.use_seats,
        terms.cap_seats,
    )


def _repeat(pool: PoolHot, mine: EntitlementHot, terms: Terms, known: Reservation) -> Decision:
    finished = known.status > 2
    return Decision(
        True, 0, 0, True, finished, bool(pool.contended), False, 0, 0, 0, 0, 0,
        *_figures(mine, terms), known.expires_ms, known.capacity_version,
    )  # fmt: skip


def _refuse(
    before: PoolHot, pool: PoolHot, mine: EntitlementHot, terms: Terms, ask: Ask, now_ms: int, refused: Refused,
    contended: bool,
) -> Admission:  # fmt: skip
    held = ask.hold_ms > 0 and refused.code in (POOL_FULL, LOW_PRIORITY)
    decision = _answer(pool, mine, terms, refused, contended=contended, held=held)
    if held:
        waiting = replace(before, wait_until_ms=max(before.wait_until_ms, now_ms + ask.hold_ms))
        return Admission(waiting, mine, decision)
    mine.refused[refused.code] += 1
    mine.streak = min(mine.streak + 1, LARGEST_STREAK)
    return Admission(replace(before), mine, decision)


def _admit(
    pool: PoolHot, mine: EntitlementHot, terms: Terms, ask: Ask, now_ms: int, choice: Choice, contended: bool
) -> Admission:
    micro = ask.tokens * MICRO
    mine.bucket_micro -= micro
    mine.reserved_tokens += ask.tokens
    mine.use_kv += ask.kv_bytes
    mine.use_seats += ask.concurrency
    mine.current_kv = max(mine.current_kv, mine.use_kv)
    mine.current_seats = max(mine.current_seats, mine.use_seats)
    mine.admitted += 1
    mine.streak = 0
    expected = min(mine.mean_charge_micro or micro, micro)
    service_ms = (mine.mean_service_us or pool.mean_service_us) // 1000
    rate = min(expected // max(1, service_ms), LARGEST_RATE)
    mine.work_rate += rate
    evict(pool, choice)
    pool.use_kv += ask.kv_bytes
    pool.use_seats += ask.concurrency
    if terms.rank == 3:
        pool.evictable_kv += ask.kv_bytes
        pool.evictable_seats += ask.concurrency
    pool.contended = int(contended)
    pool.admitted += 1
    expires = now_ms + ask.lease_ms
    bucket = expires // LEASE_BUCKET_MS
    if pool.reap_from == 0 or bucket < pool.reap_from:
        pool.reap_from = bucket
    rehold(pool, mine, terms)
    reservation = Reservation(
        LIVE, ask.tokens, ask.kv_bytes, ask.concurrency, now_ms, expires, ask.key_id, pool.capacity_version,
        rate, 0, now_ms, 0, terms.rank,
    )  # fmt: skip
    decision = Decision(
        True, 0, 0, False, False, contended, False, len(choice.taken), 0, 0, 0, 0,
        *_figures(mine, terms), expires, pool.capacity_version,
    )  # fmt: skip
    return Admission(pool, mine, decision, reservation, choice.taken)


def evict(pool: PoolHot, choice: Choice) -> None:
    """Move victims from the pool's use to what is being evicted, in place."""
    pool.use_kv -= choice.kv
    pool.use_seats -= choice.seats
    pool.evictable_kv -= choice.kv
    pool.evictable_seats -= choice.seats
    pool.evicting_kv += choice.kv
    pool.evicting_seats += choice.seats
    pool.evicted += len(choice.taken)
