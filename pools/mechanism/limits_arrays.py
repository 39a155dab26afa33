"""The stages of the dynamic limits over many pools at once. Same results as ``limits``, checked against it by the
tests.

Rows are grouped by pool, so every sum over a pool is one ``reduceat``. Arrays are dimension first, ``[3, n]``, which
keeps each dimension contiguous. The fill is the active-set form of water-filling: raise the level to left / sum of
weights, settle all who are full below it, repeat; it ends after a few rounds, and a sorted pass finishes what is
left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pools.mechanism.limits import DEBT_STEPS, HAIR, REMAINDER_STEPS, TURN_STEPS
from pools.mechanism.ordering import Floats, Whole

Flags = NDArray[np.bool_]
ROUNDS_BEFORE_SORT = 24


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows [n] of a shard that take part, and where each pool begins among them.

    ``rows`` indexes the shard; ``starts`` [s] first position of each non-empty pool; ``pools`` [s] its pool index;
    ``inverse`` [n] position → group.
    """

    rows: Whole
    starts: Whole
    pools: Whole
    inverse: Whole

    @classmethod
    def of(cls, pool: Whole, taking_part: Flags) -> Groups:
        """The groups of the rows that take part; ``pool`` [E] never decreases."""
        rows = np.flatnonzero(taking_part)
        member = pool[rows]
        first = np.empty(rows.size, dtype=np.bool_)
        first[:1] = True
        np.not_equal(member[1:], member[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        return cls(rows, starts, member[starts], np.cumsum(first) - 1)

    def sums(self, values: Floats) -> Floats:
        """Sum over each group: [..., n] → [..., s]."""
        total: Floats = np.add.reduceat(values, self.starts, axis=-1)
        return total


def fill_groups(room: Floats, weight: Floats, left: Floats, groups: Groups) -> Floats:
    """Weighted max-min fill of every group at once: room and weight [k, n], left [k, s] → amounts [k, n]."""
    wants = np.where(weight > 0, room, 0.0)
    enough = groups.sums(wants) <= left
    if enough.all():
        return wants
    given = np.where(enough[:, groups.inverse], wants, 0.0)
    active = (wants > 0) & ~enough[:, groups.inverse]
    pull = np.where(active, weight, 0.0)
    level = np.divide(room, weight, out=np.full(room.shape, np.inf), where=active)
    remaining = np.where(enough, 0.0, left)
    for _ in range(ROUNDS_BEFORE_SORT):
        height = _height(remaining, groups.sums(pull))[:, groups.inverse]
        full = level <= height
        if not full.any():
            return np.where(pull > 0, weight * height, given)
        settled = np.where(full, room, 0.0)
        given += settled
        remaining = np.maximum(0.0, remaining - groups.sums(settled))
        pull = np.where(full, 0.0, pull)
        level = np.where(full, np.inf, level)
    return _fill_sorted(given, level, weight * (pull > 0), remaining, groups)


def _height(left: Floats, pull: Floats) -> Floats:
    height: Floats = np.divide(left, pull, out=np.zeros(left.shape), where=pull > 0)
    return height


def _fill_sorted(given: Floats, level: Floats, pull: Floats, left: Floats, groups: Groups) -> Floats:
    """Finish a fill exactly, one dimension at a time, by sorting levels within each group."""
    result = given.copy()
    for d in range(level.shape[0]):
        order = np.lexsort((level[d], groups.inverse))
        by = pull[d][order]
        height = np.where(by > 0, level[d][order], 0.0)
        room = by * height
        start_of = groups.starts[groups.inverse]
        room_before = _before(room, start_of)
        pull_left = groups.sums(pull[d])[groups.inverse] - _before(by, start_of)
        spent = room_before + height * pull_left
        over = (spent >= left[d][groups.inverse]) & (by > 0)
        first = np.full(groups.starts.size, by.size, dtype=np.int64)
        np.minimum.at(first, groups.inverse[over], np.flatnonzero(over))
        found = first < by.size
        at = np.minimum(first, by.size - 1)
        stop = np.where(found, _height(left[d] - room_before[at], pull_left[at]), np.inf)
        tops = np.minimum(np.where(pull[d] > 0, level[d], 0.0), stop[groups.inverse])
        result[d] += pull[d] * np.maximum(0.0, tops)
    return result


def _before(values: Floats, start_of: Whole) -> Floats:
    """Sum of the values before each row within its own group."""
    running = np.cumsum(values) - values
    before: Floats = running - running[start_of]
    return before


def fill_groups_drf(room: Floats, weight: Floats, left: Floats, capacity: Floats, groups: Groups) -> Floats:
    """Weighted dominant-resource fill of every group: room [3,n], weight [n], left and capacity [3,s] → amounts
    [3,n]."""
    has = capacity[:, groups.inverse]
    shares = np.divide(room, has, out=np.zeros(room.shape), where=has > 0)
    reach = shares.max(axis=0)
    along = np.divide(np.where(has > 0, room, 0.0), reach, out=np.zeros(room.shape), where=reach > 0)
    share = np.zeros(reach.shape)
    active = (reach > 0) & (weight > 0)
    level = np.divide(reach, weight, out=np.full(reach.shape, np.inf), where=active)
    remaining = left.copy()
    empty = HAIR * HAIR * np.maximum(1.0, capacity)
    for _ in range(4 * (ROUNDS_BEFORE_SORT + reach.size)):
        blocked = ((along > 0) & (remaining <= empty)[:, groups.inverse]).any(axis=0)
        active &= ~blocked
        if not active.any():
            break
        pull = np.where(active, weight, 0.0)
        rates = groups.sums(pull * along)
        lowest = np.minimum.reduceat(np.where(active, level, np.inf), groups.starts)
        done = np.where(pull > 0, share / np.where(pull > 0, weight, 1.0), 0.0)
        reached = np.maximum.reduceat(done, groups.starts)
        step = np.divide(remaining, rates, out=np.full(rates.shape, np.inf), where=rates > 0).min(axis=0)
        step = np.minimum(step, lowest - reached)
        step = np.where(np.isfinite(step), np.maximum(0.0, step), 0.0)
        share += pull * step[groups.inverse]
        remaining = np.maximum(0.0, remaining - rates * step)
        active &= reach - share > HAIR * HAIR
    amount: Floats = share * along
    return amount


def whole_slot_groups(amount: Floats, debt: Floats, rotation: int, groups: Groups) -> Floats:
    """Whole numbers by largest remainder in every group: amounts and debts [n] → [n]. One argsort on one packed key."""
    parts = np.floor(amount + HAIR)
    extra = np.floor(groups.sums(amount) + HAIR) - groups.sums(parts)
    if not (extra > 0).any():
        return parts
    count = np.diff(np.append(groups.starts, amount.size))[groups.inverse]
    turn = (np.arange(amount.size) - groups.starts[groups.inverse] - rotation) % count
    turn = np.where(count <= TURN_STEPS, turn, turn * TURN_STEPS // count)
    behind = REMAINDER_STEPS - 1 - (np.clip(amount - parts, 0.0, 1.0) * (REMAINDER_STEPS - 1)).astype(np.int64)
    owed = DEBT_STEPS - 1 - ((np.clip(debt, -1.0, 1.0) + 1.0) / 2.0 * (DEBT_STEPS - 1)).astype(np.int64)
    key = ((groups.inverse * REMAINDER_STEPS + behind) * DEBT_STEPS + owed) * TURN_STEPS + turn
    order = np.argsort(key)
    place = np.arange(amount.size) - groups.starts[groups.inverse]
    parts[order[place < extra[groups.inverse]]] += 1.0
    return parts


@dataclass(frozen=True, slots=True)
class ClaimArrays:
    """The claims of a shard, dimension first: class and weight [E]; the rest [3, E]; see ``limits.Claim``."""

    service_class: Whole
    weight: Floats
    base: Floats
    reference: Floats
    cap: Floats
    demand: Floats
    reserve: Floats


def stage_arrays(claims: ClaimArrays, pool: Whole, bound: Flags, capacity: Floats, drf: bool) -> Floats:
    """What each stage gives: [6, 3, E]. ``capacity`` [3, P] is what the bound rows may share (draining leases taken
    off)."""
    given = np.zeros((6, *claims.base.shape))
    total = np.zeros(claims.base.shape)
    left = capacity.copy()
    kind = claims.service_class
    wants = np.minimum(claims.cap, claims.demand)
    first_wants = np.minimum(claims.base, claims.demand)
    pulls = claims.weight * claims.reference
    takers = (bound & (kind <= 1), bound & (kind == 2), bound & ((kind == 0) | (kind == 2)), bound & (kind == 3))
    targets = (claims.reserve, first_wants, wants, wants, wants, claims.cap)
    for stage, taking in enumerate((*takers, bound & (kind == 4), bound)):
        groups = Groups.of(pool, taking)
        if not groups.rows.size:
            continue
        rows = groups.rows
        room = np.maximum(0.0, np.take(targets[stage], rows, axis=1) - np.take(total, rows, axis=1))
        if not room.any():
            continue
        open_left = left[:, groups.pools]
        if drf and 1 <= stage <= 4:
            has = capacity[:, groups.pools]
            wide = has[:, groups.inverse]
            pull = np.take(pulls, rows, axis=1)
            share = np.divide(pull, wide, out=np.zeros(room.shape), where=wide > 0).max(axis=0)
            amount = fill_groups_drf(room, share, open_left, has, groups)
        else:
            pull = np.ones(room.shape) if stage == 5 else np.take(claims.base if stage == 0 else pulls, rows, axis=1)
            amount = fill_groups(room, pull, open_left, groups)
        for d in range(3):  # one dimension at a time: a scatter along a row is several times faster
            given[stage, d, rows] = amount[d]
            total[d, rows] += amount[d]
        left[:, groups.pools] = np.maximum(0.0, open_left - groups.sums(amount))
    return given
