"""What other terms would have answered to the requests that really came: a replay of one entitlement beside the facts.

Known of a request are its cost, when it began and how long it ran; of a refused one only when and why, so its cost is
the entitlement's mean. The pool around it stays as it was: whether it was contended is a fact, and what other
entitlements did does not change. Two rules keep the comparison honest where facts are missing:

- a bound that is as it was gives the answer that was given;
- a request that was admitted is held only to bounds that became tighter, one that was refused is asked again only where
  the bound that refused it became looser.

So equal terms give equal answers, tighter terms never admit more, looser terms never refuse more. Not replayed: clients
that would have retried or stayed away, reserves lent to others, evictions. Source: Token Pools design; the order of the
checks is that of ``admission``.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pools.mechanism.admission import CONCURRENCY, KV_BUDGET, LOW_PRIORITY, NEVER_FITS, TOKEN_BUDGET
from pools.mechanism.limits_arrays import ClaimArrays, Flags, stage_arrays
from pools.mechanism.ordering import RANK_OF_CLASS, ClassCode, Floats, WeightFactors, Whole, weights

HAIR = 1e-6
OUTPUT_TOLERANCE = 1.1
"""An output bound is only inferred (see ``Asked``), so it is called too large from a tenth above on."""
RANKS = np.array(RANK_OF_CLASS, dtype=np.int64)


class Bounds(NamedTuple):
    """What one entitlement is held to: ``refill`` tokens per second into a bucket of ``bucket`` tokens, hard caps, the
    limits while the pool is contended, the largest output one request may ask for, how long it waits for room."""

    refill: float
    bucket: float
    cap_kv: float
    cap_seats: float
    limit_kv: float
    limit_seats: float
    largest_output: float
    hold_ms: float = 0.0


class Span(NamedTuple):
    """Bounds that held until ``until_ms``, and the other ones to be tried."""

    until_ms: int
    real: Bounds
    other: Bounds


class Asked(NamedTuple):
    """One request, or ``times`` alike: what it cost, what it was charged and how long it ran in the end, the output
    bound it seems to have asked for (0: unknown), and the refusal it met (0: it was admitted)."""

    at_ms: int
    tokens: float
    kv_bytes: float
    seats: float
    charged: float
    runs_ms: float
    output: float = 0.0
    refused: int = 0
    times: int = 1


@dataclass
class _World:
    """The entitlement as it would have been."""

    bucket: float
    at_ms: int
    use_kv: float = 0.0
    use_seats: float = 0.0
    running: list[tuple[float, float, float, float]] = field(default_factory=list)

    def pass_time(self, now_ms: int, bounds: Bounds) -> None:
        """Refills the bucket and ends what has run its time."""
        while self.running and self.running[0][0] <= now_ms:
            end_ms, kv, seats, back = heapq.heappop(self.running)
            self._refill(max(self.at_ms, round(end_ms)), bounds)
            self.bucket = min(bounds.bucket, self.bucket + back)
            self.use_kv -= kv
            self.use_seats -= seats
        self._refill(max(self.at_ms, now_ms), bounds)

    def _refill(self, now_ms: int, bounds: Bounds) -> None:
        self.bucket = min(bounds.bucket, self.bucket + bounds.refill * (now_ms - self.at_ms) / 1000.0)
        self.at_ms = now_ms

    def start(self, ask: Asked, bounds: Bounds) -> None:
        """An admitted request takes its room until it ends."""
        self.bucket = max(-bounds.bucket, self.bucket - ask.tokens)
        self.use_kv += ask.kv_bytes
        self.use_seats += ask.seats
        back = max(0.0, ask.tokens - ask.charged)
        heapq.heappush(self.running, (ask.at_ms + ask.runs_ms, ask.kv_bytes, ask.seats, back))

    def freed_by(self, until_ms: float) -> tuple[float, float]:
        """(KV bytes, sequences) that end by then."""
        ending = [one for one in self.running if one[0] <= until_ms]
        return sum(one[1] for one in ending), sum(one[2] for one in ending)


def judge(asks: Sequence[Asked], spans: Sequence[Span], contended: Sequence[tuple[int, int]] = ()) -> list[int]:
    """The refusal each request would have met (numbers of ``pools.choices.Refusal``), 0 where it would be admitted.

    ``asks`` in order of time; ``spans`` follow each other, the last one holds on; ``contended`` are the times [from,
    until) in ms in which the pool was contended, in order. The bucket starts full: begin some time before what counts.
    Raises ValueError without any span.
    """
    if not spans:
        raise ValueError("a replay needs the bounds of at least one span")
    world: _World | None = None
    codes, at, busy = [], 0, 0
    for ask in asks:
        while at < len(spans) - 1 and spans[at].until_ms <= ask.at_ms:
            at += 1
        while busy < len(contended) and contended[busy][1] <= ask.at_ms:
            busy += 1
        span = spans[at]
        world = world or _World(span.other.bucket, ask.at_ms)
        world.pass_time(ask.at_ms, span.other)
        scarce = busy < len(contended) and contended[busy][0] <= ask.at_ms
        code = _answer(world, ask, span, scarce)
        if not code:
            world.start(ask, span.other)
        codes.append(code)
    return codes


def _answer(world: _World, ask: Asked, span: Span, scarce: bool) -> int:
    real, other = span.real, span.other
    if ask.refused and not _looser(ask.refused, real, other):
        return ask.refused
    again = bool(ask.refused)

    def held(bound: float, usual: float) -> bool:
        return again or bound < usual - HAIR

    seats, kv = world.use_seats + ask.seats, world.use_kv + ask.kv_bytes
    tokens_held = held(other.refill, real.refill) or held(other.bucket, real.bucket)
    seats_held, kv_held = held(other.cap_seats, real.cap_seats), held(other.cap_kv, real.cap_kv)
    if (
        (seats_held and ask.seats > other.cap_seats)
        or (held(other.bucket, real.bucket) and ask.tokens > other.bucket)
        or (kv_held and ask.kv_bytes > other.cap_kv)
        or (other.largest_output < real.largest_output and ask.output > other.largest_output * OUTPUT_TOLERANCE)
    ):
        return NEVER_FITS
    if seats_held and seats > other.cap_seats + HAIR:
        return CONCURRENCY
    if tokens_held and world.bucket < ask.tokens - HAIR:
        return TOKEN_BUDGET
    if kv_held and kv > other.cap_kv + HAIR:
        return KV_BUDGET
    if scarce:
        over_seats = seats - other.limit_seats if held(other.limit_seats, real.limit_seats) else 0.0
        over_kv = kv - other.limit_kv if held(other.limit_kv, real.limit_kv) else 0.0
        if over_seats > HAIR or over_kv > HAIR:
            freed_kv, freed_seats = world.freed_by(ask.at_ms + other.hold_ms) if other.hold_ms else (0.0, 0.0)
            if over_seats > freed_seats + HAIR or over_kv > freed_kv + HAIR:
                return LOW_PRIORITY
    return 0


def _looser(refused: int, real: Bounds, other: Bounds) -> bool:
    """Whether the bound that refused is looser in the other terms. Refusals that no term of a tier decides stay."""
    if refused == CONCURRENCY:
        return other.cap_seats > real.cap_seats + HAIR
    if refused == TOKEN_BUDGET:
        return other.refill > real.refill + HAIR or other.bucket > real.bucket + HAIR
    if refused == KV_BUDGET:
        return other.cap_kv > real.cap_kv + HAIR
    if refused == LOW_PRIORITY:
        more = other.limit_seats > real.limit_seats + HAIR or other.limit_kv > real.limit_kv + HAIR
        return more or other.hold_ms > real.hold_ms
    return False


@dataclass(frozen=True, slots=True)
class Levels:
    """One pool in one span of time: E entitlements, arrays [E] and [E,3] in tokens/s, KV bytes, sequences; ``capacity``
    [3]. ``demand`` is what they would have used with room for all."""

    service_class: Whole
    bound: Flags
    class_weight: Floats
    slo_ms: Floats
    lendable: Floats
    base: Floats
    cap: Floats
    use: Floats
    demand: Floats
    debt: Floats
    burst: Floats
    capacity: Floats
    sequence_kv_bytes: float
    factors: WeightFactors
    drf: bool = False


def limits_for(levels: Levels) -> Floats:
    """The limits [E,3] that the tick's fill gives for these levels, slots not made whole; rank 0 at least its base.

    Take the ratio of two of them (with the terms in force and with others), not the numbers: the levels are means.
    """
    bound, base = levels.bound, levels.base
    mean_slo = float(levels.slo_ms[bound].mean()) if bound.any() else 1.0
    weight = weights(levels.class_weight, levels.slo_ms / mean_slo, levels.burst, levels.debt, levels.factors)
    first = (RANKS[levels.service_class] == 0) & bound
    lent = np.where(levels.service_class == ClassCode.DEDICATED, 0.0, levels.lendable)[:, None]
    kept = np.minimum(base, levels.use + np.array([0.0, levels.sequence_kv_bytes, 1.0]))
    reserve = np.maximum((1.0 - lent) * base + lent * kept, np.minimum(base, levels.demand))
    reference = np.where(base > 0, base, levels.cap)
    parts = (base, reference, levels.cap, levels.demand, np.where(first[:, None], reserve, 0.0))
    claims = ClaimArrays(levels.service_class, weight, *(np.ascontiguousarray(part.T) for part in parts))
    pool = np.zeros(bound.size, dtype=np.int64)
    given = stage_arrays(claims, pool, bound, levels.capacity.reshape(3, 1).astype(np.float64), levels.drf)
    limit: Floats = given.sum(axis=0).T
    return np.where(first[:, None], np.maximum(limit, base), limit)
