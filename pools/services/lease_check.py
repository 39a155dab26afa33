"""Would a promise fit? The same checks as the deed itself, on an instance that is never saved. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pools.mechanism.lease import LeaseFit, Supply, Triple, Verdict
from pools.mechanism.ordering import RANK_OF_CLASS
from pools.mechanism.windows import Span, fit_within, peak
from pools.models import Entitlement
from pools.services.amounts import CLASS_CODES, base_of
from pools.services.entitlements import entitlement_findings
from pools.services.spans import span_of, spans_of, window_of
from pools.services.supply import supplies_of, supply_of
from portal.lib.errors import DomainError

SHORT = {Verdict.NOW: "fits now", Verdict.AFTER_SCALING: "fits after scaling", Verdict.NEVER: "does not fit"}


@dataclass(frozen=True, slots=True)
class LeaseLine:
    """One dimension (0 tokens/s, 1 KV bytes, 2 slots): what this promise takes, the most the others hold while it
    lasts, what the pool has ready and could have at most, and what is missing of either."""

    dimension: int
    asked: int
    others: float
    ready: int
    most: int
    short_now: float
    short_at_most: float

    @property
    def free_after(self) -> float:
        """What would be left of the ready capacity; negative when it is short."""
        return self.ready - self.others - self.asked


@dataclass(frozen=True, slots=True)
class LeaseCheck:
    """``problems`` (field → sentence) refuse the terms whatever the capacity; then ``fit`` is None. ``lines``: the
    numbers of each dimension; none for a class that promises nothing."""

    fit: LeaseFit | None
    problems: dict[str, str]
    warnings: tuple[str, ...]
    lines: tuple[LeaseLine, ...] = ()
    ready_replicas: int = 0
    most_replicas: int = 0
    since: datetime | None = None
    """When the shortage begins, where that is yet to come."""

    @property
    def short(self) -> list[tuple[int, float]]:
        """(dimension, what is missing): with all replicas when it can never fit, else now."""
        names = "short_at_most" if self.verdict == Verdict.NEVER else "short_now"
        return [(line.dimension, value) for line in self.lines if (value := getattr(line, names)) > 0]

    @property
    def verdict(self) -> str:
        """now, after_scaling, never or refused."""
        return str(self.fit.verdict) if self.fit is not None else "refused"

    @property
    def sentence(self) -> str:
        """The answer in one line, with the numbers."""
        if self.fit is None:
            return "These terms are refused. " + " ".join(self.problems.values())
        if self.fit.verdict is Verdict.NOW:
            return f"Fits now. {self.fit.sentence}"
        if self.fit.verdict is Verdict.AFTER_SCALING:
            return f"Fits after scaling to {self.fit.replicas_needed} replicas. {self.fit.sentence}"
        return f"Does not fit. {self.fit.sentence}"

    @property
    def sentence_for_tenant(self) -> str:
        """The answer without a number that would tell of others' promises."""
        if self.fit is None:
            return self.sentence
        return {
            Verdict.NOW: "This fits the capacity that is ready; an operator decides.",
            Verdict.AFTER_SCALING: "This needs more replicas to be started first; an operator decides.",
            Verdict.NEVER: "The pool as it is cannot promise this; you may still ask, and an operator decides.",
        }[self.fit.verdict]


def lease_check(entitlement: Entitlement, now: datetime) -> LeaseCheck:
    """Whether an entitlement with these terms could be promised beside all others, at every moment of its window. Two
    queries, no lock, no write."""
    begins = window_of(entitlement, now).begins
    others = spans_of([entitlement.pool_id], now, without=entitlement.pk, asked=begins)[entitlement.pool_id]
    return _checked(entitlement, others, supply_of(entitlement.pool), now)


def _checked(entitlement: Entitlement, others: Sequence[Span], supply: Supply, now: datetime) -> LeaseCheck:
    try:
        warnings = entitlement_findings(entitlement)
    except DomainError as error:
        return LeaseCheck(None, error.fields or {"": error.sentence}, ())
    code, window = CLASS_CODES[entitlement.tier.service_class], window_of(entitlement, now)
    over = entitlement.pool.oversubscription
    answer = fit_within(base_of(entitlement), code, others, supply, over, window)
    lines: tuple[LeaseLine, ...] = ()
    if RANK_OF_CLASS[code] <= 1:
        lines = _lines(entitlement, peak(others, window.begins, window.ends, over), supply, answer)
    since = answer.since if answer.since is not None and answer.since > now else None
    return LeaseCheck(answer, {}, warnings, lines, supply.ready_replicas, supply.most, since)


def lease_checks(pairs: Sequence[tuple[Entitlement, Entitlement | None]], now: datetime) -> list[LeaseCheck]:
    """:func:`lease_check` of many (as it would be, as it is stored now), whatever their number with two queries."""
    pools = {after.pool_id: after.pool for after, _ in pairs}
    asked = max((window_of(after, now).begins for after, _ in pairs), default=now)
    spans, supplies = spans_of(pools, now, asked=asked), supplies_of(pools.values())
    found = []
    for after, before in pairs:
        others = spans[after.pool_id]
        if before is not None and (mine := span_of(before, now, -1)) is not None:
            others = [*others, mine]
        found.append(_checked(after, others, supplies[after.pool_id], now))
    return found


def _lines(entitlement: Entitlement, others: Triple, supply: Supply, answer: LeaseFit) -> tuple[LeaseLine, ...]:
    asked, ready, most = base_of(entitlement).as_tuple(), supply.ready.as_tuple(), supply.at(supply.most).as_tuple()
    return tuple(
        LeaseLine(d, asked[d], others[d], ready[d], most[d], answer.shortfall_now[d], answer.shortfall_at_most[d])
        for d in range(3)
    )
