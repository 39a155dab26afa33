"""Would a promise fit? The same checks as the deed itself, on an instance that is never saved. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from pools.mechanism.lease import LeaseFit, Verdict, fit
from pools.models import Entitlement
from pools.services.amounts import CLASS_CODES, base_of
from pools.services.entitlements import entitlement_findings
from pools.services.supply import promises_of, supply_of
from portal.lib.errors import DomainError

SHORT = {Verdict.NOW: "fits now", Verdict.AFTER_SCALING: "fits after scaling", Verdict.NEVER: "does not fit"}


@dataclass(frozen=True, slots=True)
class LeaseCheck:
    """``problems`` (field → sentence) refuse the terms whatever the capacity; then ``fit`` is None."""

    fit: LeaseFit | None
    problems: dict[str, str]
    warnings: tuple[str, ...]

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


def lease_check(entitlement: Entitlement) -> LeaseCheck:
    """Whether an entitlement with these terms could be promised beside all others. Three queries, no lock, no write."""
    try:
        warnings = entitlement_findings(entitlement)
    except DomainError as error:
        return LeaseCheck(None, error.fields or {"": error.sentence}, ())
    pool = entitlement.pool
    answer = fit(
        base_of(entitlement),
        CLASS_CODES[entitlement.tier.service_class],
        promises_of(pool.pk, without=entitlement.pk),
        supply_of(pool),
        pool.oversubscription,
    )
    return LeaseCheck(answer, {}, warnings)
