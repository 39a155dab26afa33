"""The steps that are told end where ``decide`` ends, for any state; and say the numbers that were compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.mechanism import admission
from pools.mechanism.admission import Ask, decide
from pools.mechanism.explain_admission import AdmissionStory, Check, admission_story, spare_work
from pools.mechanism.hot import MICRO, EntitlementHot, PoolHot, Terms
from tests.mechanism.test_admission import ASK, CASES, FULL_OF_SPARE, MINE, NOW, POOL, TERMS, preemptible

small = st.integers(0, 20)


@st.composite
def states(draw: st.DrawFn) -> tuple[PoolHot, EntitlementHot, Terms, Ask]:
    """Any pool, entitlement and request; most of them near a limit."""
    use, evictable = draw(small), draw(st.integers(0, 4))
    pool = replace(
        POOL,
        use_kv=100 * use,
        use_seats=use,
        evictable_kv=100 * min(use, evictable),
        evictable_seats=min(use, evictable),
        hold_kv=100 * draw(st.integers(0, 6)),
        hold_seats=draw(st.integers(0, 6)),
        strict_hold_seats=draw(st.integers(0, 3)),
        draining_seats=draw(st.sampled_from((0, 0, 2))),
        contended=draw(st.integers(0, 1)),
        ready_replicas=draw(st.sampled_from((1, 1, 1, 0))),
    )
    mine = replace(
        MINE,
        use_kv=100 * draw(st.integers(0, 9)),
        use_seats=draw(st.integers(0, 9)),
        bucket_micro=draw(st.integers(-200, 1000)) * MICRO,
    )
    terms = replace(
        TERMS,
        state=draw(st.sampled_from((2, 2, 2, 2, 2, 0, 1, 3, 4, 5))),
        service_class=draw(st.integers(0, 4)),
        base_kv=400,
        base_seats=4,
        limit_kv=100 * draw(st.integers(0, 8)),
        limit_seats=draw(st.integers(0, 8)),
    )
    ask = ASK._replace(
        tokens=draw(st.integers(1, 1100)), kv_bytes=draw(st.integers(1, 900)), concurrency=draw(st.integers(1, 3))
    )
    return pool, mine, terms, ask


@given(states())
@settings(max_examples=600, deadline=None)
def test_the_last_step_is_the_decision(state: tuple[PoolHot, EntitlementHot, Terms, Ask]) -> None:
    pool, mine, terms, ask = state
    told = admission_story(pool, mine, terms, ask, NOW)
    decision = decide(pool, mine, terms, ask, NOW, candidates=spare_work(pool)).decision
    last = told.steps[-1]
    assert (told.admitted, told.code) == (decision.admitted, decision.code)
    assert (last.verdict == "admitted", last.code) == (decision.admitted, decision.code)
    assert all(step.verdict in ("holds", "open") for step in told.steps[:-1])
    assert [step.number for step in told.steps] == sorted(step.number for step in told.steps)
    if not decision.admitted and decision.code >= admission.NEVER_FITS and decision.code != admission.NO_CAPACITY:
        broken = [check for check in last.checks if not check.holds]
        assert decision.dimension in {check.dimension for check in broken}, "the dimension that binds is among them"


@pytest.mark.parametrize("name", CASES)
def test_named_cases(name: str) -> None:
    given_, code, _ = CASES[name]
    changes: dict[str, Any] = dict(given_)
    told = admission_story(
        replace(POOL, **changes.pop("pool", {})),
        replace(MINE, **changes.pop("mine", {})),
        replace(TERMS, **changes.pop("terms", {})),
        ASK._replace(**changes.pop("ask", {})),
        NOW,
        changes.pop("candidates", []),
    )
    assert told.code == code and told.steps[-1].code == code


def story(**pool: int) -> AdmissionStory:
    return admission_story(replace(POOL, **pool), MINE, TERMS, ASK, NOW)


def test_the_numbers_are_those_compared() -> None:
    told = story(use_seats=15, use_kv=1000)
    assert [step.number for step in told.steps] == [1, 2, 3, 4, 5, 7, 8, 9]
    assert told.steps[2].checks == (Check(3, 1, 8),)
    assert told.steps[3].checks == (Check(1, 100, 1000),)
    assert told.steps[5].checks == (Check(2, 1100, 1600), Check(3, 16, 16))
    assert told.steps[6].verdict == "open" and Check(3, 16, 15) in told.steps[6].checks


def test_preemptible_work_gives_way() -> None:
    told = story(**FULL_OF_SPARE)
    assert told.admitted and told.victims == 1
    assert admission_story(replace(POOL, **FULL_OF_SPARE), MINE, TERMS, ASK, NOW, preemptible(4)).victims == 1
