"""What plans are made of: shapes and accelerators, capacity in words, room for promises, the ceiling, advice judged."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.mechanism.accelerators import ACCELERATORS, TooSmallError, accelerator_of, estimate
from pools.mechanism.amounts import Dimension, Rate, kv_bytes_per_token
from pools.mechanism.capacity import ReplicaProfile, replica_rate
from pools.mechanism.capacity_words import capacity_told
from pools.mechanism.ceiling import NO_CEILING, Ceiling
from pools.mechanism.hit_rate import Advice, Minute, Verdict, judge, lead_of
from pools.mechanism.lease import Promises, Supply, fit
from pools.mechanism.lease import Verdict as Fit
from pools.mechanism.ordering import ClassCode
from pools.mechanism.promise import UNBOUNDED, binding_dimension, room, single_most, times_that_fit
from pools.mechanism.shapes import MODEL_SHAPES, shape_of

PROFILE = ReplicaProfile(
    layers=32,
    kv_heads=8,
    head_dim=128,
    bytes_per_element=2,
    block_tokens=16,
    kv_blocks=8192,
    max_sequences=16,
    planned_context_tokens=512,
    prefill_tokens_per_second=2000,
    itl_alpha_ms=1000 / 15,
    itl_beta_ms=0,
    mean_input_tokens=64,
    mean_output_tokens=64,
)
amounts = st.integers(0, 10_000)
rates = st.builds(Rate, amounts, amounts, amounts)
promises = st.builds(Promises, rates, rates)


def test_shapes_are_whole_and_named_once() -> None:
    assert len({shape.key for shape in MODEL_SHAPES}) == len(MODEL_SHAPES) > 25
    for shape in MODEL_SHAPES:
        assert min(shape.layers, shape.kv_heads, shape.head_dim, shape.context_length) >= 1, shape
        assert 0 < shape.active_b <= shape.parameters_b, shape
    llama = shape_of("llama-3.1-8b")
    assert llama is not None
    assert kv_bytes_per_token(llama.layers, llama.kv_heads, llama.head_dim, 2) == 131_072
    assert shape_of("own") is None


def test_every_accelerator_makes_a_plausible_replica_of_a_small_model() -> None:
    small = shape_of("llama-3.2-3b")
    assert small is not None
    for device in ACCELERATORS:
        made = estimate(small, device, 1)
        assert made.num_gpu_blocks > 100 and 1 < made.itl_base_ms < 100, device
        assert 1000 < made.prefill_tokens_per_second < 1e6, device


def test_weights_that_do_not_fit_say_how_many_devices_would_do() -> None:
    big, device = shape_of("llama-3.1-70b"), accelerator_of("h100")
    assert big is not None and device is not None
    with pytest.raises(TooSmallError, match="take at least 2 per replica"):
        estimate(big, device, 1)
    assert estimate(big, device, 2).num_gpu_blocks > 0
    more, most = estimate(big, device, 4), estimate(big, device, 16)
    assert most.num_gpu_blocks < 8 * more.num_gpu_blocks, "beyond 8 KV heads the cache is held twice"
    with pytest.raises(ValueError, match="1 or more"):
        estimate(big, device, 0)


def test_the_formula_is_told_with_its_numbers() -> None:
    tokens, kv, slots = capacity_told(PROFILE)
    assert (tokens.result, kv.result, slots.result) == replica_rate(PROFILE).as_tuple()
    assert "0.95 × 16 × 128" in tokens.numbers and tokens.binds == "the time between tokens"
    assert "8,192 × 16 × 131,072" in kv.numbers
    assert slots.binds == "the engine's limit" and "min(16, 117,964 / 512 = 230)" in slots.numbers


@given(promises, rates, rates, st.floats(1, 5), st.sampled_from([ClassCode.GUARANTEED, ClassCode.ELASTIC]))
def test_what_fits_by_count_fits_as_a_lease_and_one_more_does_not(
    promised: Promises, capacity: Rate, base: Rate, oversubscription: float, code: ClassCode
) -> None:
    found = times_that_fit(base, code, promised, capacity, oversubscription)
    supply = Supply(capacity, Rate(0, 0, 0), 1, 1)
    if found.binds is None or base == Rate(0, 0, 0):
        return
    for count, fits in ((found.count, True), (found.count + 1, False)):
        if count == 0:
            continue
        before = base.times(count - 1)
        kept = promised.reserved + before if code == ClassCode.GUARANTEED else promised.reserved
        elastic = promised.elastic + before if code == ClassCode.ELASTIC else promised.elastic
        answer = fit(base, code, Promises(kept, elastic), supply, oversubscription)
        short = max(answer.shortfall_now)
        assert (answer.verdict is Fit.NOW or short < 1e-3) if fits else (answer.verdict is not Fit.NOW or short < 1e-3)


def test_room_by_class_in_one_named_case() -> None:
    promised, capacity = Promises(Rate(100, 10, 4), Rate(60, 10, 4)), Rate(240, 100, 16)
    assert room(ClassCode.DEDICATED, promised, capacity, 2.0) == (110, 85, 10)
    assert room(ClassCode.ELASTIC, promised, capacity, 2.0) == (220, 170, 20)
    assert single_most(ClassCode.ELASTIC, promised, capacity, 2.0) == (140, 90, 12)
    assert all(math.isinf(free) for free in room(ClassCode.SPOT, promised, capacity))
    found = times_that_fit(Rate(50, 5, 3), ClassCode.GUARANTEED, promised, capacity, 2.0)
    assert (found.count, found.binds) == (2, Dimension.TOKENS)
    assert times_that_fit(Rate(150, 1, 1), ClassCode.ELASTIC, promised, capacity, 2.0).count == 0
    assert times_that_fit(Rate(0, 0, 0), ClassCode.ELASTIC, promised, capacity).count == UNBOUNDED
    assert binding_dimension((110, 85, 2), Rate(240, 100, 16)) is Dimension.CONCURRENCY
    assert binding_dimension((1, 1, 1), Rate(0, 0, 0)) is None
    with pytest.raises(ValueError, match="1 or more"):
        room(ClassCode.DEDICATED, promised, capacity, 0.5)


def test_more_than_there_is_shows_as_negative_room() -> None:
    over = room(ClassCode.DEDICATED, Promises(Rate(300, 0, 0), Rate(0, 0, 0)), Rate(240, 100, 16))
    assert over[0] == -60


@pytest.mark.parametrize(
    ("ceiling", "before", "after", "refused"),
    [
        (Ceiling(0, 99), 1, 50, False),
        (Ceiling(8, 8), 2, 3, True),
        (Ceiling(8, 8), 3, 2, False),
        (Ceiling(8, 6), 2, 4, False),
        (Ceiling(8, 6), 2, 5, True),
        (Ceiling(4, 9), 3, 2, False),
    ],
)
def test_the_ceiling_refuses_what_would_pass_it(ceiling: Ceiling, before: int, after: int, refused: bool) -> None:
    assert ceiling.refuses(before, after) is refused


def test_what_is_left_under_the_ceiling() -> None:
    assert Ceiling(8, 5).replicas_left(2) == 1
    assert Ceiling(8, 9).left == 0
    assert (Ceiling(0, 5).left, Ceiling(0, 5).replicas_left(4), Ceiling(0, 5).share) == (None, NO_CEILING, 0.0)
    assert Ceiling(8, 4).with_change(1, 3) == Ceiling(8, 6)


def test_advice_is_compared_with_the_need_one_start_later() -> None:
    advice = [Advice(0, 1), Advice(60, 3)]
    minutes = [Minute(60.0 * m, needed, 1) for m, needed in enumerate([1, 1, 3, 3, 1])]
    found = judge(minutes, advice, lead_s=60)
    # minute 0 has no advice yet; 1 and 2 stand on advice of minutes 0 and 1; 3 of minute 2; 4 wastes two replicas
    assert found == Verdict(right=3, few=0, many=1, ran_right=2, ran_few=2, ran_many=0)
    assert found.hit_rate == 0.75
    late = judge(minutes, advice, lead_s=120)
    assert late.few == 1, "with a slower start the third replica would have come too late"


def test_one_to_spare_is_right_and_unknown_minutes_do_not_count() -> None:
    minutes = [Minute(0, 2, 2), Minute(60, None, 2), Minute(120, 1, 2)]
    found = judge(minutes, [Advice(-1, 3)], lead_s=0)
    assert (found.right, found.many, found.judged) == (1, 1, 2)
    assert judge(minutes, [], lead_s=0) == Verdict()
    assert Verdict().hit_rate is None and Verdict().ran_rate is None
    assert found.plus(found).judged == 4
    with pytest.raises(ValueError, match="0 or more"):
        judge(minutes, [], lead_s=-1)


@given(
    st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 9)), st.integers(0, 9)), max_size=40),
    st.lists(st.integers(0, 9), max_size=10),
    st.floats(0, 300),
)
def test_advice_and_what_ran_are_judged_over_the_same_minutes(
    seen: list[tuple[int | None, int]], advised: list[int], lead_s: float
) -> None:
    minutes = [Minute(60.0 * i, needed, ready) for i, (needed, ready) in enumerate(seen)]
    found = judge(minutes, [Advice(100.0 * i, n) for i, n in enumerate(advised)], lead_s)
    assert found.judged == found.ran_right + found.ran_few + found.ran_many <= len(minutes)
    assert found.hit_rate is None or 0 <= found.hit_rate <= 1


def test_the_lead_is_what_starting_takes() -> None:
    assert lead_of([]) == 60
    assert lead_of([8, 300, 12]) == 12
    assert lead_of([5000]) == 900
