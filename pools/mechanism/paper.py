"""The paper's formulas to the letter, for comparison runs only (``MECHANISM_MODE = paper``).

Kept apart because they fail where they are printed: weights cross ranks, the debt factor reaches 0 at a debt of
-0.25, idle tenants earn debt, and a zero baseline divides by zero. Source: arXiv 2603.00356 v1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pools.mechanism.ordering import Floats

KEPT_PER_STEP = 0.7
STEP_S = 5.0


def weight(class_weight: float, slo_ratio: float, burst: float, debt: float) -> float:
    """w = class_weight / (1 + 2 x slo_ratio) / (1 + burst) x (1 + 4 x debt). May be 0 or negative."""
    return class_weight / (1.0 + 2.0 * slo_ratio) / (1.0 + burst) * (1.0 + 4.0 * debt)


def gap(base: float, served: float) -> float:
    """g = (base - served) / base, whether or not anything was asked for. Raises ZeroDivisionError without a
    baseline."""
    return (base - served) / base


def gaps(base: Floats, served: Floats) -> Floats:
    """:func:`gap` for arrays [E]; 0 where there is no baseline, which the paper leaves undefined."""
    return np.divide(base - served, base, out=np.zeros_like(served), where=base > 0)


def debt_step(debt: float, gap: float) -> float:
    """d <- 0.7 d + 0.3 g, once per 5 s tick, however long it really was."""
    return KEPT_PER_STEP * debt + (1.0 - KEPT_PER_STEP) * gap


def kept_share(window_s: Floats) -> Floats:
    """0.7 per 5 s for windows of any length."""
    return np.power(KEPT_PER_STEP, window_s / STEP_S)


class PaperRefusal(StrEnum):
    """Why the paper's admission says 429 (or 403 for the state)."""

    STATE = "state"
    CONCURRENCY = "concurrency"
    TOKEN_BUDGET = "token_budget"  # noqa: S105 - a reason, not a secret
    LOW_PRIORITY = "low_priority"


@dataclass(frozen=True, slots=True)
class PaperAsker:
    """The asking entitlement as the paper's admission sees it. Throughput in tokens of the present window."""

    bound: bool
    in_flight: int
    concurrency: int
    remaining_tokens: float
    default_max_tokens: int
    weight: float


def admit(
    asker: PaperAsker, input_tokens: int, max_tokens: int | None, contended: bool, weights_in_flight: Sequence[float]
) -> PaperRefusal | None:
    """The paper's admission in its order; None admits.

    State → default max_tokens → in flight < r → input + max_tokens <= remaining throughput → if contended, weight above
    the lowest weight in flight. The strict ">" starves the lowest class once it is alone in flight.
    """
    if not asker.bound:
        return PaperRefusal.STATE
    output = asker.default_max_tokens if max_tokens is None else max_tokens
    if asker.in_flight >= asker.concurrency:
        return PaperRefusal.CONCURRENCY
    if input_tokens + output > asker.remaining_tokens:
        return PaperRefusal.TOKEN_BUDGET
    if contended and weights_in_flight and asker.weight <= min(weights_in_flight):
        return PaperRefusal.LOW_PRIORITY
    return None
