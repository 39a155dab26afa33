"""From a service gap to a balanced pair of entries. Whole milli-tokens; what cannot be posted yet is carried on.

A gap above zero is an accrual: the pool owes the tenant. A gap below zero repays what is owed, never more: service
above the promise is no debt of the tenant. Source: Token Pools design.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

MILLI = 1000
Kind = Literal["accrual", "repayment"]


@dataclass(frozen=True, slots=True)
class Posting:
    """One transfer: ``amount`` milli-tokens, above 0: added to the tenant's account, or taken from it."""

    kind: Kind
    amount: int

    @property
    def entries(self) -> tuple[int, int]:
        """(entitlement's account, pool's account); their sum is 0."""
        signed = self.amount if self.kind == "accrual" else -self.amount
        return signed, -signed


def posting(gap_tokens: float, owed_millitokens: int) -> Posting | None:
    """What one period's gap posts on top of a balance; None when nothing is to be moved.

    ``gap_tokens``: tokens served below (+) or above (-) the promise; rounded half away from zero to milli-tokens.
    ``owed_millitokens``: the balance before, 0 or more. Raises ValueError for a gap that is not a number.
    """
    if not math.isfinite(gap_tokens):
        raise ValueError(f"a gap must be a number, got {gap_tokens}")
    amount = math.floor(abs(gap_tokens) * MILLI + 0.5)
    if gap_tokens > 0:
        return Posting("accrual", amount) if amount else None
    repaid = min(amount, max(0, owed_millitokens))
    return Posting("repayment", repaid) if repaid else None
