"""Which preemptible reservations give way to one request: the few cheapest that free the need, in whole numbers.

Order: lowest weight, then youngest, then by name. Taken in order while something is still missing, then thinned from
the dearest back, so that no victim could be spared. Source: Token Pools design, section 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Candidate(NamedTuple):
    """A live preemptible reservation; ``name``: ``entitlement:request``; ``weight_micro``: its weight when admitted."""

    name: str
    kv: int
    seats: int
    weight_micro: int
    started_ms: int


class Choice(NamedTuple):
    """Victims and what they free; ``enough`` false when even all of them leave something missing."""

    taken: tuple[Candidate, ...]
    kv: int
    seats: int
    enough: bool


def choose_victims(candidates: Sequence[Candidate], need_kv: int, need_seats: int) -> Choice:
    """The victims for a need (bytes, sequences; 0 or less means none)."""
    if need_kv <= 0 and need_seats <= 0:
        return Choice((), 0, 0, True)
    taken: list[Candidate] = []
    kv = seats = 0
    for candidate in sorted(candidates, key=lambda c: (c.weight_micro, -c.started_ms, c.name.encode())):
        if kv >= need_kv and seats >= need_seats:
            break
        if (kv < need_kv and candidate.kv > 0) or (seats < need_seats and candidate.seats > 0):
            taken.append(candidate)
            kv += candidate.kv
            seats += candidate.seats
    enough = kv >= need_kv and seats >= need_seats
    if enough:
        for index in range(len(taken) - 1, -1, -1):
            spared = taken[index]
            if kv - spared.kv >= need_kv and seats - spared.seats >= need_seats:
                kv -= spared.kv
                seats -= spared.seats
                del taken[index]
    return Choice(tuple(taken), kv, seats, enough)
