"""Who used whose idle reserve: the use of some pools, taken apart into lenders and borrowers.

Of each dimension by itself (tokens/s, KV bytes, sequences):

- **idle** reserve of an entitlement = max(0, base − use); what it **offers** = max(0, idle − hold). A hold is what the
  tick withholds from everybody else (rank 0 only; a dedicated entitlement withholds all of its idle reserve, so it
  never lends). A rank-3 borrower is evicted the moment the owner returns, so to it a guaranteed owner offers all that
  is idle.
- **excess** of an entitlement = max(0, use − base): what it uses above its own promise.
- **unpromised** capacity = max(0, capacity − sum of bases): nobody's reserve.

Excess is served rank by rank, as the pool serves it: first out of unpromised capacity, then out of what the owners
offer, each owner in proportion to what it offers, each borrower in proportion to its excess within the rank. What
neither accounts for is **beyond**: capacity was lost, or an owner came back while a lent sequence still ran.

So for every borrower e: excess_e = free_e + sum over lenders l of loan[l, e] + beyond_e, and no owner lends more than
is idle. Who lends in a dimension cannot borrow in it. Source: Token Pools design (what section 4 lends, accounted).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pools.mechanism.ordering import RANK_OF_CLASS, ClassCode, Floats, Whole

RANKS = np.array(RANK_OF_CLASS, dtype=np.int64)
RANK_COUNT = 4
LOWEST_RANK = 3
UNPROMISED, BEYOND, OTHERS = 0, -1, -2
"""Lenders and borrowers that are no entitlement: nobody's capacity, what was over-committed, everybody too small."""


@dataclass(frozen=True, slots=True)
class Lending:
    """E entitlements, the last axis (tokens/s, KV bytes, sequences). ``lent`` [4,E,3] what each owner lends to the
    borrowers of each rank; of each borrower's excess ``borrowed`` [E,3] is out of reserves, ``free`` [E,3] out of
    unpromised capacity, ``beyond`` [E,3] the rest."""

    lent: Floats
    borrowed: Floats
    free: Floats
    beyond: Floats


def lending(use: Floats, base: Floats, hold: Floats, service_class: Whole, pool: Whole, capacity: Floats) -> Lending:
    """Takes the use of P pools apart. ``use``, ``base``, ``hold`` [E,3]; ``service_class``, ``pool`` [E] (index of the
    pool); ``capacity`` [P,3]. All are levels.

    ``base`` is 0 for an entitlement that is not bound: nothing is reserved for it. Raises ValueError for a negative
    level.
    """
    if min(float(values.min(initial=0.0)) for values in (use, base, hold, capacity)) < 0:
        raise ValueError("use, base, hold and capacity must be 0 or more")
    excess, idle = np.maximum(0.0, use - base), np.maximum(0.0, base - use)
    dedicated = (service_class == ClassCode.DEDICATED)[:, None]
    offered = np.where(dedicated, 0.0, np.maximum(0.0, idle - hold))
    to_preemptible = np.where(dedicated, 0.0, idle)
    unpromised = np.maximum(0.0, capacity - _sums(base, pool, capacity))
    lent, borrowed, free = np.zeros((RANK_COUNT, *use.shape)), np.zeros_like(use), np.zeros_like(use)
    gone = np.zeros_like(use)
    rank_of = RANKS[service_class]
    for rank in range(RANK_COUNT):
        mine = np.where((rank_of == rank)[:, None], excess, 0.0)
        want = _sums(mine, pool, capacity)
        from_free = np.minimum(want, unpromised)
        unpromised = unpromised - from_free
        room = np.maximum(0.0, (to_preemptible if rank == LOWEST_RANK else offered) - gone)
        there = _sums(room, pool, capacity)
        taken = np.minimum(want - from_free, there)
        lent[rank] = room * _ratio(taken, there)[pool]
        gone += lent[rank]
        borrowed += mine * _ratio(taken, want)[pool]
        free += mine * _ratio(from_free, want)[pool]
    return Lending(lent, borrowed, free, np.maximum(0.0, excess - borrowed - free))


def _sums(values: Floats, pool: Whole, capacity: Floats) -> Floats:
    return np.stack([np.bincount(pool, weights=values[:, d], minlength=len(capacity)) for d in range(3)], axis=1)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """part / whole, 0 where there is no whole."""
    found: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return found


class Loan(NamedTuple):
    """``borrower`` used this much of ``lender``'s idle reserve: entitlement ids, or one of the three that are none."""

    lender: int
    borrower: int
    amount: tuple[float, float, float]


def loans(
    found: Lending, rows: slice, ids: Whole, service_class: Whole, capacity: Floats, named: int, most: int
) -> list[Loan]:
    """The loans of one pool's rows, ``ids`` and ``service_class`` of those rows, ``capacity`` [3]; the largest first.

    Within a rank every owner's loan is shared alike, so loan[l, e] = lent[l] x borrowed[e] / sum of borrowed. Only the
    ``named`` largest lenders and borrowers of each rank, and of all their pairs the ``most`` largest, keep their names
    (by the largest share of the pool in any dimension); the rest are ``OTHERS``.
    """
    whole = np.where(capacity > 0, capacity, 1.0)
    rank_of = RANKS[service_class]
    parts: list[tuple[Whole, Whole, Floats]] = []
    for rank in range(RANK_COUNT):
        lent = found.lent[rank, rows]
        if lent.any():
            givers, given = _named(lent, ids, whole, named)
            takers, taken = _named(np.where((rank_of == rank)[:, None], found.borrowed[rows], 0.0), ids, whole, named)
            share = _ratio(taken, np.broadcast_to(taken.sum(axis=0), taken.shape))
            amounts = (given[:, None] * share[None]).reshape(-1, 3)
            parts.append((np.repeat(givers, takers.size), np.tile(takers, givers.size), amounts))
    for lender, values in ((UNPROMISED, found.free[rows]), (BEYOND, found.beyond[rows])):
        if values.any():
            takers, taken = _named(values, ids, whole, named)
            parts.append((np.full(takers.size, lender), takers, taken))
    return _largest(parts, whole, most) if parts else []


def _named(values: Floats, ids: Whole, whole: Floats, named: int) -> tuple[Whole, Floats]:
    """The rows above nothing, the largest ``named`` by name, the rest summed as one."""
    size = (values / whole).max(axis=1, initial=0.0)
    rows = np.flatnonzero(size > 0)
    if rows.size <= named:
        return ids[rows], values[rows]
    rows = rows[np.argsort(-size[rows], kind="stable")]
    kept, rest = rows[:named], rows[named:]
    return np.append(ids[kept], OTHERS), np.concatenate([values[kept], values[rest].sum(axis=0)[None]])


def _largest(parts: list[tuple[Whole, Whole, Floats]], whole: Floats, most: int) -> list[Loan]:
    lenders, borrowers, amounts = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(-(amounts / whole).max(axis=1), kind="stable")
    order = order[amounts[order].any(axis=1)]
    lenders, borrowers, amounts = lenders[order], borrowers[order], amounts[order]
    if order.size <= most:
        return _listed(lenders, borrowers, amounts)
    made = _listed(lenders[:most], borrowers[:most], amounts[:most])
    gathered = np.where(lenders[most:] > 0, OTHERS, lenders[most:])
    for lender in np.unique(gathered):
        (a, b, c) = amounts[most:][gathered == lender].sum(axis=0).tolist()
        made.append(Loan(int(lender), OTHERS, (a, b, c)))
    return made


def _listed(lenders: Whole, borrowers: Whole, amounts: Floats) -> list[Loan]:
    return [
        Loan(lender, borrower, (a, b, c))
        for lender, borrower, (a, b, c) in zip(lenders.tolist(), borrowers.tolist(), amounts.tolist(), strict=True)
    ]


def _unnamed(lender: int) -> int:
    """An entitlement becomes one of the others; what is none stays what it is."""
    return OTHERS if lender > 0 else lender


def loans_sum(moments: Iterable[tuple[float, Iterable[Loan]]], most: int) -> list[Loan]:
    """Loans of several moments, each times its seconds: tokens, byte-seconds, sequence-seconds; the largest first.

    Pairs beyond the ``most`` largest (by the largest share of the whole in any dimension) become ``OTHERS``.
    """
    total: dict[tuple[int, int], list[float]] = {}
    for seconds, made in moments:
        for loan in made:
            _add(total, (loan.lender, loan.borrower), [amount * seconds for amount in loan.amount])
    whole = [sum(sums[d] for sums in total.values()) or 1.0 for d in range(3)]
    order = sorted(total.items(), key=lambda item: (-max(v / w for v, w in zip(item[1], whole, strict=True)), item[0]))
    kept = dict(order[:most])
    for (lender, _), sums in order[most:]:
        _add(kept, (_unnamed(lender), OTHERS), sums)
    return [Loan(lender, borrower, (a, b, c)) for (lender, borrower), (a, b, c) in kept.items()]


def _add(total: dict[tuple[int, int], list[float]], pair: tuple[int, int], amounts: list[float]) -> None:
    sums = total.setdefault(pair, [0.0, 0.0, 0.0])
    for dimension in range(3):
        sums[dimension] += amounts[dimension]
