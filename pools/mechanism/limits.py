"""Weighted max-min fill and the stages of the dynamic limits, written plainly: the reference for ``limits_arrays``.

Source: the idea of shrinking and backfilling is the paper's; stages, fill and rounding are Token Pools design (max-min
fairness after Bertsekas and Gallager; dominant shares after Ghodsi et al., NSDI 2011).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

HAIR = 1e-6
"""Amounts this close to a whole number count as that number."""
REMAINDER_STEPS = 1 << 18
DEBT_STEPS = 1 << 12
TURN_STEPS = 1 << 12


def fill(room: Sequence[float], weight: Sequence[float], left: float) -> list[float]:
    """Weighted max-min fair amounts [n]: nobody above its room, sum at most ``left``, levels amount / weight equal.

    Repeat t = min(min_e (room - a) / w, left / sum w); a += w x t; drop the full. Who has no weight gets nothing.
    All in one unit. Raises ValueError for a negative room, weight or left.
    """
    if left < 0 or any(value < 0 for value in (*room, *weight)):
        raise ValueError("room, weight and what is left must be 0 or more")
    given = [0.0] * len(room)
    active = [i for i, (space, pull) in enumerate(zip(room, weight, strict=True)) if space > 0 and pull > 0]
    while active and left > 0:
        pull = sum(weight[i] for i in active)
        step = min(min((room[i] - given[i]) / weight[i] for i in active), left / pull)
        for i in active:
            given[i] += weight[i] * step
        left = max(0.0, left - step * pull)
        still = [i for i in active if room[i] - given[i] > HAIR * HAIR * max(1.0, room[i])]
        if len(still) == len(active):
            break
        for i in set(active) - set(still):
            given[i] = room[i]
        active = still
    return given


def fill_drf(
    room: Sequence[Sequence[float]], weight: Sequence[float], left: Sequence[float], capacity: Sequence[float]
) -> list[list[float]]:
    """Weighted dominant-resource-fair amounts [n][3]: each grows along its own room vector, dominant share / weight
    equal.

    An entitlement stops at its room, or when a dimension it uses is exhausted. ``capacity`` [3] turns amounts into
    shares; a dimension the pool does not have is never asked for. Raises ValueError for negative values.
    """
    if any(value < 0 for row in room for value in row) or any(value < 0 for value in (*weight, *left, *capacity)):
        raise ValueError("room, weight, left and capacity must be 0 or more")
    reach = [max((r / c for r, c in zip(row, capacity, strict=True) if c > 0), default=0.0) for row in room]
    along = [
        [r / top if top > 0 and c > 0 else 0.0 for r, c in zip(row, capacity, strict=True)]
        for row, top in zip(room, reach, strict=True)
    ]
    share = [0.0] * len(room)
    remaining = list(left)
    active = [i for i in range(len(room)) if reach[i] > 0 and weight[i] > 0]
    while active:
        exhausted = {d for d in range(3) if remaining[d] <= HAIR * HAIR * max(1.0, capacity[d])}
        active = [i for i in active if not any(along[i][d] > 0 for d in exhausted)]
        if not active:
            break
        pull = [sum(weight[i] * along[i][d] for i in active) for d in range(3)]
        steps = [remaining[d] / pull[d] for d in range(3) if pull[d] > 0]
        step = min(*steps, *((reach[i] - share[i]) / weight[i] for i in active))
        for i in active:
            share[i] += weight[i] * step
        remaining = [max(0.0, remaining[d] - step * pull[d]) for d in range(3)]
        active = [i for i in active if reach[i] - share[i] > HAIR * HAIR]
    return [[x * v for v in direction] for x, direction in zip(share, along, strict=True)]


def whole_slots(amount: Sequence[float], debt: Sequence[float], rotation: int) -> list[int]:
    """Whole numbers by largest remainder that sum to the whole part of the sum: ties to the larger debt, then in turn.

    Nobody moves by more than one, and nobody passes the next whole number above its amount.
    """
    count = len(amount)
    parts = [math.floor(value + HAIR) for value in amount]
    extra = math.floor(math.fsum(amount) + HAIR) - sum(parts)
    order = sorted(range(count), key=lambda i: slot_key(amount[i] - parts[i], debt[i], i, count, rotation))
    for i in order[: max(0, extra)]:
        parts[i] += 1
    return parts


def slot_key(remainder: float, debt: float, index: int, count: int, rotation: int) -> tuple[int, int, int]:
    """Order of the slots left over, smallest first: larger remainder, then larger debt, then whose turn it is."""
    turn = (index - rotation) % count
    return (
        REMAINDER_STEPS - 1 - int(min(max(remainder, 0.0), 1.0) * (REMAINDER_STEPS - 1)),
        DEBT_STEPS - 1 - int((min(max(debt, -1.0), 1.0) + 1.0) / 2.0 * (DEBT_STEPS - 1)),
        turn if count <= TURN_STEPS else turn * TURN_STEPS // count,
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """One bound entitlement as the limits see it, in three dimensions: ``reserve`` is what stage 0 gives rank 0."""

    service_class: int
    weight: float
    base: Sequence[float]
    reference: Sequence[float]
    cap: Sequence[float]
    demand: Sequence[float]
    reserve: Sequence[float]


DEDICATED, GUARANTEED, ELASTIC, SPOT, PREEMPTIBLE = range(5)


def stages(claims: Sequence[Claim], capacity: Sequence[float], drf: bool = False) -> list[list[list[float]]]:
    """What each of the six stages gives each claim: [6][n][3]; their sum per dimension never exceeds ``capacity`` [3].

    Reserve of rank 0 → elastic baselines → surplus of dedicated and elastic by weight x base → spot → preemptible →
    equal fill of what nobody asked for, to the cap.
    """
    taken = [[0.0, 0.0, 0.0] for _ in claims]
    left = list(capacity)
    result = []
    for stage in range(6):
        room, pull = [], []
        for claim, has in zip(claims, taken, strict=True):
            wants = stage_target(stage, claim)
            room.append([max(0.0, want - own) for want, own in zip(wants, has, strict=True)])
            pull.append(stage_weight(stage, claim))
        if drf and 1 <= stage <= 4:
            dominant = [dominant_share(row, capacity) for row in pull]
            given = fill_drf(room, dominant, left, capacity)
        else:
            columns = [fill([row[d] for row in room], [row[d] for row in pull], left[d]) for d in range(3)]
            given = [[columns[d][i] for d in range(3)] for i in range(len(claims))]
        taken = [[a + b for a, b in zip(has, more, strict=True)] for has, more in zip(taken, given, strict=True)]
        left = [max(0.0, left[d] - sum(row[d] for row in given)) for d in range(3)]
        result.append(given)
    return result


def dominant_share(amount: Sequence[float], capacity: Sequence[float]) -> float:
    """Largest share of a pool's capacity in any dimension it has."""
    return max((a / c for a, c in zip(amount, capacity, strict=True) if c > 0), default=0.0)


_ASKERS = ((DEDICATED, GUARANTEED), (ELASTIC,), (DEDICATED, ELASTIC), (SPOT,), (PREEMPTIBLE,), tuple(range(5)))


def stage_target(stage: int, claim: Claim) -> Sequence[float]:
    """Level [3] a claim may reach in a stage; zeros when the stage is not for its class."""
    if claim.service_class not in _ASKERS[stage]:
        return (0.0, 0.0, 0.0)
    if stage == 0:
        return claim.reserve
    if stage == 1:
        return [min(base, want) for base, want in zip(claim.base, claim.demand, strict=True)]
    if stage == 5:
        return claim.cap
    return [min(cap, want) for cap, want in zip(claim.cap, claim.demand, strict=True)]


def stage_weight(stage: int, claim: Claim) -> Sequence[float]:
    """Pull [3] of a claim in a stage: base (0), weight x reference (1-4), equal (5)."""
    if stage == 0:
        return claim.base
    if stage == 5:
        return (1.0, 1.0, 1.0)
    return [claim.weight * usual for usual in claim.reference]
