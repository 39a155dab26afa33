"""One replica's capacity against figures worked out by hand, and the mistakes a profile can hold."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.mechanism.amounts import Rate
from pools.mechanism.capacity import (
    ProfileError,
    ReplicaProfile,
    corrected,
    live_average,
    mean_service_s,
    pool_capacity,
    replica_rate,
)

EIGHT_B = ReplicaProfile(
    layers=32,
    kv_heads=8,
    head_dim=128,
    bytes_per_element=2,
    block_tokens=16,
    kv_blocks=2000,
    max_sequences=64,
    planned_context_tokens=1000,
    prefill_tokens_per_second=2000.0,
    itl_alpha_ms=10.0,
    itl_beta_ms=1.0,
    mean_input_tokens=400.0,
    mean_output_tokens=100.0,
)


def test_kv_bytes_of_a_token() -> None:
    assert EIGHT_B.bytes_per_token == 131_072


def test_the_rate_worked_out_by_hand() -> None:
    # 32,000 tokens x 0.90 = 28,800 tokens; 28 sequences of 1,000; 400/2000 s + 100 x (10 + 28) ms = 4.0 s each
    assert mean_service_s(EIGHT_B, 28) == pytest.approx(4.0)
    assert replica_rate(EIGHT_B) == Rate(int(0.95 * 28 * 500 / 4.0), 28_800 * 131_072, 28)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"max_sequences": 16}, 16, id="max_num_seqs binds"),
        pytest.param({"planned_context_tokens": 28_800}, 1, id="one whole context just fits"),
        pytest.param({"kv_blocks": 4000}, 57, id="twice the blocks"),
    ],
)
def test_sequences(change: dict[str, Any], expected: int) -> None:
    assert replica_rate(replace(EIGHT_B, **change)).concurrency == expected


def test_a_measured_rate_replaces_the_computed_one() -> None:
    assert replica_rate(replace(EIGHT_B, measured_tokens_per_second=240)).tokens_per_second == 240


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"layers": 0}, "layers", id="no layers"),
        pytest.param({"kv_blocks": 10}, "planned_context_tokens", id="context larger than the cache"),
        pytest.param({"prefill_tokens_per_second": 0.0}, "prefill_tokens_per_second", id="no prefill rate"),
        pytest.param({"prefill_tokens_per_second": math.nan}, "prefill_tokens_per_second", id="not a number"),
        pytest.param({"itl_alpha_ms": -1.0}, "itl_alpha_ms", id="negative latency"),
        pytest.param({"itl_alpha_ms": 0.0, "itl_beta_ms": 0.0}, "itl_alpha_ms", id="tokens in no time"),
        pytest.param({"mean_input_tokens": 0.0, "mean_output_tokens": 0.0}, "mean_input_tokens", id="empty requests"),
        pytest.param({"measured_tokens_per_second": 0}, "measured_tokens_per_second", id="measured nothing"),
    ],
)
def test_a_wrong_profile_names_the_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ProfileError) as refused:
        replace(EIGHT_B, **change)
    assert field in refused.value.problems
    assert any(character.isdigit() for character in str(refused.value))


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(ProfileError) as refused:
        replace(EIGHT_B, layers=0, head_dim=-1, itl_beta_ms=-2.0)
    assert set(refused.value.problems) == {"layers", "head_dim", "itl_beta_ms"}


def test_a_pool_sums_its_ready_replicas_of_any_kind() -> None:
    small, large = Rate(100, 1000, 4), Rate(900, 9000, 32)
    assert pool_capacity([small, large, small]) == Rate(1100, 11_000, 40)
    assert pool_capacity([]) == Rate(0, 0, 0)


@pytest.mark.parametrize(
    ("average", "expected"),
    [(None, 1000), (1100.0, 1100), (100.0, 500), (9999.0, 1500), (0.0, 500)],
)
def test_the_live_correction_stays_within_half(average: float | None, expected: int) -> None:
    assert corrected(Rate(1000, 7, 8), average) == Rate(expected, 7, 8)


def test_only_saturated_windows_teach() -> None:
    assert live_average(None, 50.0, saturated=False, elapsed_s=5) is None
    first = live_average(None, 800.0, saturated=True, elapsed_s=5)
    assert first == 800.0
    assert live_average(first, 50.0, saturated=False, elapsed_s=5) == 800.0
    assert live_average(800.0, 400.0, saturated=True, elapsed_s=60 * math.log(2)) == pytest.approx(600.0)


@given(st.integers(1, 200), st.integers(100, 5000), st.floats(0, 20), st.floats(0.1, 5))
def test_a_larger_cache_never_carries_less(sequences: int, blocks: int, alpha: float, beta: float) -> None:
    profile = replace(
        EIGHT_B,
        max_sequences=sequences,
        kv_blocks=blocks,
        itl_alpha_ms=alpha,
        itl_beta_ms=beta,
    )
    more = replica_rate(replace(profile, kv_blocks=blocks + 100))
    less = replica_rate(profile)
    assert less.kv_bytes < more.kv_bytes
    assert less.concurrency <= more.concurrency <= sequences
    assert less.tokens_per_second <= more.tokens_per_second + 1
