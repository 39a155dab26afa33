"""The small measures of a preview, beside the plain formulas they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.mechanism.amounts import Rate
from pools.mechanism.ordering import ClassCode
from pools.mechanism.outlook import scaling_levels
from pools.mechanism.scaling import Asked, ScalingSettings, commit_level, need_level

AMOUNT = st.integers(0, 1000)
RATE = st.builds(Rate, AMOUNT, AMOUNT, AMOUNT)
ASKS = st.lists(
    st.builds(
        Asked,
        st.sampled_from(list(ClassCode)),
        RATE,
        RATE,
        st.tuples(*[st.floats(0, 2000)] * 3),
        st.floats(-1, 1),
    ),
    max_size=12,
)


@given(ASKS, st.sampled_from([ScalingSettings(), ScalingSettings(elastic_share=0.5, spot_share=0.3)]))
def test_levels_of_columns_are_those_of_rows(asks: list[Asked], rules: ScalingSettings) -> None:
    def column(values: list[tuple[float, ...]]) -> np.ndarray:
        return np.array(values, dtype=float).reshape(len(asks), 3)

    commit, need = scaling_levels(
        np.array([one.service_class for one in asks], dtype=np.int64),
        column([one.base.as_tuple() for one in asks]),
        column([one.cap.as_tuple() for one in asks]),
        column([one.demand for one in asks]),
        np.array([one.debt for one in asks], dtype=float),
        rules,
    )
    assert commit == pytest.approx(commit_level(asks, rules))
    assert need == pytest.approx(need_level(asks, rules))
