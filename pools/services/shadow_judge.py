"""A tier's real requests in one pool, judged by other terms. Reads and computes; writes nothing, enforces nothing.

1 the terms in force and the other ones as columns, as a preview takes them; 2 what was sampled, by the step; 3 the
limits the other terms would have given, as the ratio of two fills; 4 the replay, entitlement by entitlement.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import numpy as np

from pools.choices import Refusal
from pools.mechanism.ordering import Floats, StateCode
from pools.mechanism.shadow import Asked, Bounds, Levels, Span, judge, limits_for
from pools.models import Entitlement, Pool, Tier
from pools.selectors.shadow_facts import Level, Refused, contended_between, levels_between, refusals_between
from pools.services.configuring import BUCKET_SECONDS, terms_key
from pools.services.preview import with_terms
from pools.services.tick_terms import TickTerms, terms_many
from pools.services.tier_terms import TierTerms
from portal.lib.hot import hot

STEP = timedelta(minutes=1)
WARM_UP = timedelta(minutes=2)
"""Replayed before the first minute that counts: buckets and slots are then as they would have been."""
MOST_SINGLE = 50
"""Refusals of one reason in one sample that are replayed one by one; more are replayed in bundles."""
CODES = {reason.code: int(reason) for reason in Refusal}


@dataclass(slots=True)
class Judged:
    """One entitlement in one step: requests that came, that were refused, that would have been refused by reason."""

    entitlement_id: int
    at: datetime
    asked: int = 0
    refused_now: int = 0
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Trial:
    """Other terms for a tier in one pool, over [start, end) in steps."""

    pool: Pool
    tier: Tier
    other: TierTerms
    start: datetime
    end: datetime
    step: timedelta = STEP

    @property
    def warm(self) -> datetime:
        """Where the replay begins."""
        return self.start - WARM_UP


def tier_members(tier: Tier, pool: Pool) -> list[Entitlement]:
    """Whom a trial judges: the tier's living entitlements in the pool."""
    rows = Entitlement.objects.filter(tier=tier, pool=pool).exclude(state="expired")
    return list(rows.select_related("tenant").order_by("pk"))


def trial_judge(
    trial: Trial, members: Sequence[Entitlement], asks: Mapping[int, Sequence[Asked]], now: datetime
) -> list[Judged]:
    """Every entitlement and step in which anything was asked. ``asks``: settled requests by entitlement id, in order of
    time, from ``trial.warm`` on."""
    current, pool = trial.tier.current, trial.pool
    revision = cast(bytes | None, hot().get(terms_key(pool.pk)))
    standing = terms_many([pool.pk], [revision or b""], now).get(pool.pk)
    if current is None or standing is None or not members:
        return []
    real = TierTerms.of_version(current)
    other = with_terms(standing, pool, members, trial.other)
    # The version in force may be newer than this process's columns: both sides are made the same way.
    standing = with_terms(standing, pool, members, real)
    ids = [row.pk for row in members]
    levels = levels_between(pool.pk, trial.warm, trial.end, trial.step)
    spans = _spans(standing, other, levels, ids, (real, trial.other), trial.step)
    contended = contended_between(pool.pk, trial.warm, trial.end)
    refused: dict[int, list[Refused]] = defaultdict(list)
    for row in refusals_between(pool.pk, ids, trial.warm, trial.end):
        refused[row.entitlement_id].append(row)
    typical = _typical(pool, standing)
    found: list[Judged] = []
    for identity in ids:
        mine = list(asks.get(identity, ()))
        mine += _refused_asks(refused[identity], _mean(mine) or typical)
        if mine and spans.get(identity):
            mine.sort(key=lambda ask: ask.at_ms)
            found += _tally(trial, identity, mine, judge(mine, spans[identity], contended))
    return found


def _tally(trial: Trial, identity: int, asks: Sequence[Asked], codes: Sequence[int]) -> list[Judged]:
    steps: dict[int, Judged] = {}
    first, width = _ms(trial.start), round(trial.step.total_seconds() * 1000)
    last = _ms(trial.end)
    for ask, code in zip(asks, codes, strict=True):
        if not first <= ask.at_ms < last:
            continue
        at = first + (ask.at_ms - first) // width * width
        row = steps.get(at)
        if row is None:
            row = steps[at] = Judged(identity, datetime.fromtimestamp(at / 1000, UTC))
        row.asked += ask.times
        row.refused_now += ask.times if ask.refused else 0
        if code:
            row.refused[Refusal(code).code] += ask.times
    return list(steps.values())


def _spans(
    standing: TickTerms,
    other: TickTerms,
    levels: Sequence[Level],
    ids: Sequence[int],
    terms: tuple[TierTerms, TierTerms],
    step: timedelta,
) -> dict[int, list[Span]]:
    """Bounds by entitlement and step; where nothing was sampled, caps alone bind."""
    place = {int(identity): index for index, identity in enumerate(standing.ids)}
    found: dict[int, list[Span]] = {identity: [] for identity in ids if identity in place}
    for level in levels:
        until_ms = _ms(level.at + step)
        limits, ratio = _limits(standing, other, level)
        for identity, spans in found.items():
            index = place[identity]
            usual = limits[index]
            if not usual.any():
                usual = standing.cap[index]
            bounds = _bounds(standing, index, usual, terms[0]), _bounds(other, index, usual * ratio[index], terms[1])
            spans.append(Span(until_ms, *bounds))
    for identity, spans in found.items():
        if not spans:
            index = place[identity]
            real = _bounds(standing, index, standing.cap[index], terms[0])
            spans.append(Span(0, real, _bounds(other, index, other.cap[index], terms[1])))
    return found


def _bounds(columns: TickTerms, index: int, limit: Floats, terms: TierTerms) -> Bounds:
    cap = columns.cap[index]
    refill = float(limit[0])
    return Bounds(
        refill=refill,
        bucket=max(BUCKET_SECONDS * refill, float(columns.largest_cost_tokens[index])),
        cap_kv=float(cap[1]),
        cap_seats=float(cap[2]),
        limit_kv=float(limit[1]),
        limit_seats=float(limit[2]),
        largest_output=float(terms.largest_max_tokens),
        hold_ms=float(terms.hold_ms),
    )


def _limits(standing: TickTerms, other: TickTerms, level: Level) -> tuple[Floats, Floats]:
    """(limits that were in force [E,3], what the other terms would have made of them [E,3] as a ratio)."""
    rows = np.searchsorted(standing.ids, level.ids)
    known = (rows < standing.ids.size) & (standing.ids[np.minimum(rows, standing.ids.size - 1)] == level.ids)
    rows = rows[known]
    count = standing.ids.size

    def spread(values: Floats) -> Floats:
        whole = np.zeros((count, *values.shape[1:]))
        whole[rows] = values[known]
        return whole

    use, demand = spread(level.use), spread(level.demand)
    parts = [
        limits_for(_levels(columns, level, use, demand, spread(level.debt), spread(level.burst)))
        for columns in (standing, other)
    ]
    ratio = np.divide(parts[1], parts[0], out=np.ones_like(parts[0]), where=parts[0] > 0)
    return spread(level.limit), ratio


def _levels(columns: TickTerms, level: Level, use: Floats, demand: Floats, debt: Floats, burst: Floats) -> Levels:
    reference = np.where(columns.base > 0, columns.base, columns.cap)
    wanted = np.maximum(use, reference * _per(demand, reference[:, 0])[:, None])
    more = np.maximum(1.0, _per(demand, use[:, 0]))
    wanted = np.where(use[:, :1] > 0, use * more[:, None], wanted)
    wanted[:, 0] = np.maximum(demand, use[:, 0])
    return Levels(
        service_class=columns.service_class,
        bound=np.asarray(columns.state == StateCode.BOUND),
        class_weight=columns.class_weight,
        slo_ms=columns.slo_ms,
        lendable=columns.lendable,
        base=columns.base,
        cap=columns.cap,
        use=use,
        demand=wanted,
        debt=debt,
        burst=burst,
        capacity=level.capacity,
        sequence_kv_bytes=columns.sequence_kv_bytes,
        factors=columns.factors,
        drf=columns.fill == "drf",
    )


def _per(part: Floats, whole: Floats) -> Floats:
    found: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return found


def _refused_asks(rows: Sequence[Refused], mean: Asked) -> Iterator[Asked]:
    """Refused requests as asks of the entitlement's mean size, spread evenly over the time their count covers."""
    for row in rows:
        pieces = min(row.many, MOST_SINGLE)
        for number in range(pieces):
            at = row.from_ms + (row.until_ms - row.from_ms) * (2 * number + 1) // (2 * pieces)
            times = row.many // pieces + (number < row.many % pieces)
            yield mean._replace(at_ms=at, refused=CODES.get(row.code, int(Refusal.POOL_FULL)), times=times)


def _mean(asks: Sequence[Asked]) -> Asked | None:
    if not asks:
        return None
    table = np.array([ask[1:6] for ask in asks], dtype=float)
    tokens, kv_bytes, seats, charged, runs_ms = (float(value) for value in table.mean(axis=0))
    return Asked(0, tokens, kv_bytes, seats, charged, runs_ms)


def _typical(pool: Pool, standing: TickTerms) -> Asked:
    tokens, kv_bytes = standing.typical
    return Asked(0, tokens, kv_bytes, 1.0, tokens, standing.mean_service_s * 1000)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
