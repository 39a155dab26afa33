"""The arithmetic of postings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.mechanism.postings import Posting, posting


@pytest.mark.parametrize(
    ("gap", "owed", "expected"),
    [
        (1.0, 0, Posting("accrual", 1000)),
        (0.0004, 0, None),
        (0.0005, 0, Posting("accrual", 1)),
        (-1.0, 0, None),
        (-1.0, 400, Posting("repayment", 400)),
        (-1.0, 5000, Posting("repayment", 1000)),
        (0.0, 10, None),
    ],
)
def test_named_cases(gap: float, owed: int, expected: Posting | None) -> None:
    assert posting(gap, owed) == expected


@given(st.lists(st.floats(-1e6, 1e6), max_size=30))
def test_a_balance_never_falls_below_zero_and_pairs_cancel(gaps: list[float]) -> None:
    balance = 0
    for gap in gaps:
        move = posting(gap, balance)
        if move is not None:
            assert sum(move.entries) == 0 and move.amount > 0
            balance += move.entries[0]
        assert balance >= 0


def test_a_gap_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a number"):
        posting(float("nan"), 0)
