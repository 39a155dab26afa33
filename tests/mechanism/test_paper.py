"""The paper's formulas to the letter, and each way in which they fail where they are printed."""

from __future__ import annotations

import numpy as np
import pytest

from pools.mechanism import ordering, paper
from pools.mechanism.paper import PaperAsker, PaperRefusal, admit

ASKER = PaperAsker(bound=True, in_flight=2, concurrency=6, remaining_tokens=300.0, default_max_tokens=64, weight=33.0)


def asker(**changes: object) -> PaperAsker:
    values = {name: getattr(ASKER, name) for name in PaperAsker.__slots__}
    return PaperAsker(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("who", "max_tokens", "contended", "in_flight", "answer"),
    [
        pytest.param(ASKER, 64, False, [], None, id="admitted"),
        pytest.param(asker(bound=False), 64, False, [], PaperRefusal.STATE, id="not bound"),
        pytest.param(asker(in_flight=6), 64, False, [], PaperRefusal.CONCURRENCY, id="all slots in use"),
        pytest.param(ASKER, 300, False, [], PaperRefusal.TOKEN_BUDGET, id="no throughput left"),
        pytest.param(asker(remaining_tokens=128.0), None, False, [], None, id="default max_tokens"),
        pytest.param(asker(remaining_tokens=127.0), None, False, [], PaperRefusal.TOKEN_BUDGET, id="default too large"),
        pytest.param(ASKER, 64, True, [0.3, 200.0], None, id="heavier than the lightest in flight"),
        pytest.param(ASKER, 64, True, [33.0, 200.0], PaperRefusal.LOW_PRIORITY, id="equal is not above: it starves"),
        pytest.param(ASKER, 64, True, [], None, id="contended, but nothing in flight"),
    ],
)
def test_admission(
    who: PaperAsker, max_tokens: int | None, contended: bool, in_flight: list[float], answer: PaperRefusal | None
) -> None:
    assert admit(who, 64, max_tokens, contended, in_flight) == answer


def test_an_indebted_elastic_tenant_outweighs_a_guaranteed_one() -> None:
    guaranteed = paper.weight(1000, 1.967, 0.0, 0.0)
    indebted = paper.weight(100, 0.0328, 0.0, 0.6108)
    assert (round(guaranteed), round(indebted)) == (203, 323)
    assert ordering.outranks(0, guaranteed, 1, indebted)


def test_the_factor_reaches_zero_and_below() -> None:
    assert paper.weight(100, 1.0, 0.0, -0.25) == 0
    assert paper.weight(100, 1.0, 0.0, -0.5) < 0


def test_idle_tenants_earn_debt() -> None:
    debt = 0.0
    for _ in range(20):
        debt = paper.debt_step(debt, paper.gap(100.0, 0.0))
    assert debt == pytest.approx(1.0, abs=1e-3)


def test_no_baseline_divides_by_zero() -> None:
    with pytest.raises(ZeroDivisionError):
        paper.gap(0.0, 5.0)
    assert paper.gaps(np.array([0.0, 10.0]), np.array([5.0, 5.0])).tolist() == [0.0, 0.5]


def test_kept_share_is_the_papers_at_its_own_cadence() -> None:
    assert paper.kept_share(np.array([5.0, 10.0])).tolist() == pytest.approx([0.7, 0.49])
