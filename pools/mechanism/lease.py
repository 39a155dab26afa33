"""What may be promised: does a lease fit now, after scaling, or not at all, and by how much it misses.

Source: Token Pools design (the paper binds against capacity but names no test).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pools.mechanism.amounts import DIMENSIONS, Dimension, Rate
from pools.mechanism.ordering import RANK_OF_CLASS, ClassCode

LITTLE_TOLERANCE = 0.5
Triple = tuple[float, float, float]


class Verdict(StrEnum):
    """now: withhold the capacity at once; after_scaling: wait for replicas; never: refuse with the numbers."""

    NOW = "now"
    AFTER_SCALING = "after_scaling"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Promises:
    """What a pool already promised: sums of base over rank 0 (bound, draining and pending) and over elastic."""

    reserved: Rate
    elastic: Rate


@dataclass(frozen=True, slots=True)
class Supply:
    """What a pool has and may have: ready capacity, one more replica's, and the counts."""

    ready: Rate
    replica: Rate
    ready_replicas: int
    max_replicas: int

    def at(self, replicas: int) -> Rate:
        """Capacity with ``replicas`` of them; extra ones are of the planned kind."""
        return self.ready + self.replica.times(max(0, replicas - self.ready_replicas))

    @property
    def most(self) -> int:
        """The largest number of replicas there can be."""
        return max(self.max_replicas, self.ready_replicas)


@dataclass(frozen=True, slots=True)
class LeaseFit:
    """The answer: verdict, replicas it takes, what is missing per dimension now and at most, and a sentence.

    Of a lease with a window (``windows.fit_within``) ``since`` is when the shortage begins, ``first`` the verdict at
    its first moment."""

    verdict: Verdict
    replicas_needed: int
    shortfall_now: Triple
    shortfall_at_most: Triple
    sentence: str
    since: datetime | None = None
    first: Verdict | None = None


def shortfall(
    base: Rate, service_class: ClassCode, promised: Promises, capacity: Rate, oversubscription: float
) -> Triple:
    """Units missing per dimension for a lease: max(0, reserved + base - C, reserved' + elastic' / oversubscription -
    C).

    The primes include the lease itself. Raises ValueError for an oversubscription below 1. Source: Token Pools design.
    """
    if oversubscription < 1:
        raise ValueError(f"oversubscription must be 1 or more, got {oversubscription}")
    rank = RANK_OF_CLASS[service_class]
    missing = []
    for own, kept, elastic, has in zip(
        base.as_tuple(), promised.reserved.as_tuple(), promised.elastic.as_tuple(), capacity.as_tuple(), strict=True
    ):
        together = kept + (own if rank == 0 else 0) + (elastic + (own if rank == 1 else 0)) / oversubscription
        missing.append(max(0.0, kept + own - has, together - has))
    return (missing[0], missing[1], missing[2])


def fit(
    base: Rate, service_class: ClassCode, promised: Promises, supply: Supply, oversubscription: float = 1.0
) -> LeaseFit:
    """Whether a lease fits ready capacity, only more replicas, or never. Spot and preemptible promise nothing and fit.

    Raises ValueError for an oversubscription below 1. Source: Token Pools design.
    """
    if RANK_OF_CLASS[service_class] > 1:
        none = (0.0, 0.0, 0.0)
        return LeaseFit(Verdict.NOW, supply.ready_replicas, none, none, "It promises nothing, so it always fits.")
    now = shortfall(base, service_class, promised, supply.ready, oversubscription)
    at_most = shortfall(base, service_class, promised, supply.at(supply.most), oversubscription) if any(now) else now
    return fit_answer(now, at_most, supply)


def fit_answer(
    now: Triple,
    at_most: Triple,
    supply: Supply,
    *,
    when: str = "",
    since: datetime | None = None,
    first: Verdict | None = None,
) -> LeaseFit:
    """The answer for what is missing of ready capacity and with every replica; ``when`` is put into its sentence."""
    ready = supply.ready_replicas
    if not any(now):
        return LeaseFit(Verdict.NOW, ready, now, now, "It fits the capacity that is ready.", since, first)
    if any(at_most):
        sentence = f"It does not fit even with all {supply.most} replicas{when}: {missing_words(at_most)}."
        return LeaseFit(Verdict.NEVER, supply.most, now, at_most, sentence, since, first)
    needed = ready + _more_replicas(now, supply.replica)
    sentence = f"It needs {needed} ready replicas{when}, {ready} are ready: {missing_words(now)}."
    return LeaseFit(Verdict.AFTER_SCALING, needed, now, at_most, sentence, since, first)


def _more_replicas(missing: Triple, replica: Rate) -> int:
    return max(int(-(-short // each)) for short, each in zip(missing, replica.as_tuple(), strict=True) if short > 0)


_UNITS = {Dimension.TOKENS: "tokens/s", Dimension.KV_BYTES: "bytes of KV cache", Dimension.CONCURRENCY: "sequences"}


def missing_words(missing: Triple) -> str:
    """The shortfall in words, one part per dimension that is short."""
    parts = [f"{short:,.0f} {_UNITS[name]} short" for name, short in zip(DIMENSIONS, missing, strict=True) if short > 0]
    return ", ".join(parts) or "nothing is short"


def drained(capacity: Rate, others_use: Rate, others_unused_reserve: Rate, base: Rate) -> bool:
    """True when a draining lease may become bound: others' use + their unused reserve + its base fit in bytes and
    sequences.

    Tokens per second are a rate: they follow the refill within one tick and need no draining. Source: Token Pools
    design.
    """
    triples = (others_use.as_tuple(), others_unused_reserve.as_tuple(), base.as_tuple(), capacity.as_tuple())
    return all(use + kept + own <= has for use, kept, own, has in list(zip(*triples, strict=True))[1:])


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark on an entitlement: an error refuses it, a warning only speaks."""

    level: Literal["error", "warning"]
    field: str
    sentence: str


def check_entitlement(
    service_class: ClassCode,
    base: Rate,
    cap: Rate | None,
    *,
    mean_service_s: float = 0.0,
    mean_cost_tokens: float = 0.0,
) -> list[Finding]:
    """What is wrong or odd about a base and a cap for a class. Empty when all is well.

    Little's law: sequences in flight = tokens/s x mean service / tokens per request; more than 50 % away is a warning.
    Source: Token Pools design.
    """
    rank, found = RANK_OF_CLASS[service_class], []
    names = ("base_tokens_per_second", "base_kv_bytes", "base_concurrency")
    for name, amount in zip(names, base.as_tuple(), strict=True):
        if rank == 0 and amount == 0:
            found.append(Finding("error", name, f"A reserved class needs {name} above 0, got 0."))
        if rank > 1 and amount > 0:
            found.append(Finding("error", name, f"{name} must be 0: this class promises no baseline, got {amount:,}."))
    found += _cap_findings(service_class, base, cap)
    if base.concurrency > 0 and mean_service_s > 0 and mean_cost_tokens > 0:
        expected = base.tokens_per_second * mean_service_s / mean_cost_tokens
        if abs(base.concurrency - expected) > LITTLE_TOLERANCE * expected:
            found.append(
                Finding(
                    "warning",
                    "base_concurrency",
                    f"{base.tokens_per_second:,} tokens/s keep about {expected:.1f} requests in flight "
                    f"(Little's law), but {base.concurrency:,} slots are promised.",
                )
            )
    return found


def _cap_findings(service_class: ClassCode, base: Rate, cap: Rate | None) -> list[Finding]:
    if cap is None:
        if RANK_OF_CLASS[service_class] > 1:
            return [Finding("error", "cap", "This class has no baseline, so it needs an explicit cap.")]
        return []
    found = []
    names = ("cap_tokens_per_second", "cap_kv_bytes", "cap_concurrency")
    for name, most, least in zip(names, cap.as_tuple(), base.as_tuple(), strict=True):
        if service_class == ClassCode.GUARANTEED and most != least:
            found.append(
                Finding("error", name, f"A guaranteed class never bursts: {name} must equal its base {least:,}.")
            )
        elif most < max(least, 1):
            found.append(Finding("error", name, f"{name} must be {max(least, 1):,} or more, got {most:,}."))
    return found
