"""Whether a lease fits: now, after scaling, or never; and what a base may look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.mechanism.amounts import Rate
from pools.mechanism.lease import LeaseFit, Promises, Supply, Verdict, check_entitlement, drained, fit
from pools.mechanism.ordering import ClassCode

NONE = Rate(0, 0, 0)
REPLICA = Rate(240, 1600, 16)
DEDICATED, GUARANTEED, ELASTIC, SPOT = ClassCode.DEDICATED, ClassCode.GUARANTEED, ClassCode.ELASTIC, ClassCode.SPOT


def slots(count: int) -> Rate:
    return Rate(15 * count, 100 * count, count)


def ask(count: int, kind: ClassCode, reserved: int = 0, elastic: int = 0, ready: int = 2, share: float = 1) -> LeaseFit:
    supply = Supply(REPLICA.times(ready), REPLICA, ready, max_replicas=4)
    return fit(slots(count), kind, Promises(slots(reserved), slots(elastic)), supply, share)


@pytest.mark.parametrize(
    ("answer", "verdict", "replicas"),
    [
        pytest.param(ask(32, GUARANTEED), Verdict.NOW, 2, id="exactly full"),
        pytest.param(ask(33, GUARANTEED), Verdict.AFTER_SCALING, 3, id="one too many"),
        pytest.param(ask(64, DEDICATED), Verdict.AFTER_SCALING, 4, id="all that can be provisioned"),
        pytest.param(ask(65, DEDICATED), Verdict.NEVER, 4, id="more than can be provisioned"),
        pytest.param(ask(10, GUARANTEED, reserved=20, elastic=10), Verdict.AFTER_SCALING, 3, id="elastic counts"),
        pytest.param(ask(10, GUARANTEED, reserved=20, elastic=10, share=5), Verdict.NOW, 2, id="elastic oversold"),
        pytest.param(ask(20, ELASTIC, elastic=20, share=2), Verdict.NOW, 2, id="elastic oversold with elastic"),
        pytest.param(ask(13, ELASTIC, reserved=20, share=9), Verdict.AFTER_SCALING, 3, id="own base beside reserves"),
        pytest.param(ask(0, SPOT, reserved=32), Verdict.NOW, 2, id="spot promises nothing"),
        pytest.param(ask(5, GUARANTEED, ready=0), Verdict.AFTER_SCALING, 1, id="nothing ready yet"),
    ],
)
def test_verdicts(answer: LeaseFit, verdict: Verdict, replicas: int) -> None:
    assert (answer.verdict, answer.replicas_needed) == (verdict, replicas)


def test_a_refusal_carries_the_numbers() -> None:
    answer = ask(65, GUARANTEED)
    assert answer.shortfall_at_most == (15.0, 100.0, 1.0)
    assert answer.shortfall_now == (495.0, 3300.0, 33.0)
    assert "1 sequences short" in answer.sentence
    assert "4 replicas" in answer.sentence


def test_oversubscription_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"oversubscription must be 1 or more, got 0\.5"):
        ask(1, ELASTIC, share=0.5)


@given(st.lists(st.tuples(st.integers(1, 30), st.sampled_from([DEDICATED, GUARANTEED, ELASTIC])), max_size=12))
def test_promises_never_exceed_what_can_be_provisioned(asked: list[tuple[int, ClassCode]]) -> None:
    """I12 at binding time: accept whatever is not refused, in any order; the most replicas always cover it."""
    reserved = elastic = 0
    for count, kind in asked:
        if ask(count, kind, reserved, elastic).verdict is Verdict.NEVER:
            continue
        reserved, elastic = (reserved, elastic + count) if kind == ELASTIC else (reserved + count, elastic)
        assert reserved + elastic <= 64


@given(st.integers(0, 80), st.integers(0, 60), st.integers(0, 60), st.integers(0, 4), st.sampled_from([1.0, 1.5, 3.0]))
def test_the_replicas_named_are_just_enough(count: int, reserved: int, elastic: int, ready: int, share: float) -> None:
    answer = ask(count, GUARANTEED, reserved, elastic, ready, share)
    if answer.verdict is Verdict.AFTER_SCALING:
        enough = ask(count, GUARANTEED, reserved, elastic, answer.replicas_needed, share)
        fewer = ask(count, GUARANTEED, reserved, elastic, answer.replicas_needed - 1, share)
        assert enough.verdict is Verdict.NOW
        assert fewer.verdict is not Verdict.NOW


@pytest.mark.parametrize(
    ("others", "reserve", "expected"),
    [
        pytest.param(20, 0, True, id="fits beside their use"),
        pytest.param(23, 0, False, id="they still run too much"),
        pytest.param(20, 3, False, id="their idle reserve counts"),
    ],
)
def test_draining_waits_for_others(others: int, reserve: int, expected: bool) -> None:
    assert drained(REPLICA.times(2), slots(others), slots(reserve), slots(10)) is expected


def test_draining_does_not_wait_for_tokens() -> None:
    assert drained(REPLICA, Rate(9999, 0, 0), NONE, slots(10))


@pytest.mark.parametrize(
    ("kind", "base", "cap", "fields"),
    [
        pytest.param(DEDICATED, slots(5), None, [], id="dedicated, all bases"),
        pytest.param(GUARANTEED, Rate(75, 0, 5), None, ["base_kv_bytes"], id="reserved without KV"),
        pytest.param(ELASTIC, Rate(75, 0, 0), None, [], id="elastic needs only tokens"),
        pytest.param(
            SPOT, slots(1), slots(5), ["base_tokens_per_second", "base_kv_bytes", "base_concurrency"], id="spot"
        ),
        pytest.param(SPOT, NONE, None, ["cap"], id="spot without cap"),
        pytest.param(SPOT, NONE, Rate(10, 100, 0), ["cap_concurrency"], id="a cap nothing fits in"),
        pytest.param(
            GUARANTEED, slots(5), slots(6), ["cap_tokens_per_second", "cap_kv_bytes", "cap_concurrency"], id="bursts"
        ),
        pytest.param(
            ELASTIC, slots(5), slots(4), ["cap_tokens_per_second", "cap_kv_bytes", "cap_concurrency"], id="below"
        ),
    ],
)
def test_bases_and_caps(kind: ClassCode, base: Rate, cap: Rate | None, fields: list[str]) -> None:
    assert [finding.field for finding in check_entitlement(kind, base, cap) if finding.level == "error"] == fields


@pytest.mark.parametrize(("concurrency", "warned"), [(5, False), (7, False), (8, True), (2, True), (3, False)])
def test_littles_law_warns_beyond_half(concurrency: int, warned: bool) -> None:
    # 160 tokens/s at 128 tokens and 4 s each keep 5 in flight
    base = Rate(160, 1000, concurrency)
    found = check_entitlement(ELASTIC, base, None, mean_service_s=4.0, mean_cost_tokens=128.0)
    assert [finding.level for finding in found] == (["warning"] if warned else [])
