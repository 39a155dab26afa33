"""How many replicas, and when: floor and need by hand, each rule as a case, and a random life for the invariants."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.mechanism.amounts import Rate
from pools.mechanism.ordering import ClassCode
from pools.mechanism.scaling import (
    Asked,
    Replicas,
    ScalingDecision,
    ScalingSettings,
    ScalingState,
    commit_level,
    decide,
    need_level,
    replicas_for,
)

REPLICA = Rate(240, 1600, 16)
RULES = ScalingSettings()


def slots(count: int) -> Rate:
    return Rate(15 * count, 100 * count, count)


def level(count: float) -> tuple[float, float, float]:
    return (15.0 * count, 100.0 * count, float(count))


def asks(kind: ClassCode, base: int, demand: float, cap: int = 100, debt: float = 0.0) -> Asked:
    return Asked(kind, slots(base), slots(cap), level(demand), debt)


def have(ready: int, pending: int = 0, **changes: Any) -> Replicas:
    usual: dict[str, Any] = {"draining": 0, "least": 1, "most": 10, "ceiling_left": 10}
    return Replicas(ready, pending, **(usual | changes))


def elastic(demand: float, base: int = 0) -> list[Asked]:
    return [asks(ClassCode.ELASTIC, base, demand)]


def watched(seconds: int, asked: list[Asked], replicas: Replicas, state: ScalingState | None = None) -> ScalingState:
    """The state after that many seconds of the same wish, a look every 5 s, none of them applied."""
    kept = state or ScalingState()
    for at_s in range(0, seconds + 1, 5):
        kept = decide(asked, REPLICA, replicas, kept, float(at_s), advisory=True).state
    return kept


@pytest.mark.parametrize(
    ("kind", "debt", "expected"),
    [
        pytest.param(ClassCode.DEDICATED, 0.0, 12, id="dedicated: the larger of base and demand"),
        pytest.param(ClassCode.GUARANTEED, 0.0, 8, id="guaranteed: its base"),
        pytest.param(ClassCode.ELASTIC, 0.0, 12, id="elastic: the larger of base and demand"),
        pytest.param(ClassCode.ELASTIC, 0.5, 14, id="elastic owed half: a quarter of its base more"),
        pytest.param(ClassCode.ELASTIC, -0.5, 12, id="being ahead buys nothing away"),
        pytest.param(ClassCode.SPOT, 0.0, 0, id="spot buys no replica"),
        pytest.param(ClassCode.PREEMPTIBLE, 0.0, 0, id="nor does preemptible"),
    ],
)
def test_need(kind: ClassCode, debt: float, expected: float) -> None:
    assert need_level([asks(kind, 8, 12, debt=debt)], RULES) == level(expected)


def test_need_stops_at_the_cap_and_shares_count() -> None:
    asked = [asks(ClassCode.ELASTIC, 8, 12, cap=10), asks(ClassCode.SPOT, 0, 4)]
    assert need_level(asked, RULES) == level(10)
    assert need_level(asked, ScalingSettings(spot_share=0.5)) == level(12)
    assert commit_level(asked, ScalingSettings(elastic_share=0.5)) == level(4)


@pytest.mark.parametrize(
    ("count", "share", "replicas"),
    [(0, 1, 0), (16, 1, 1), (16.001, 1, 2), (16, 0.85, 2), (13.6, 0.85, 1), (32, 1, 2)],
)
def test_replicas_for(count: float, share: float, replicas: int) -> None:
    assert replicas_for(level(count), REPLICA, share) == replicas


def test_the_dimension_that_needs_most_decides() -> None:
    assert replicas_for((240.0, 8000.0, 3.0), REPLICA) == 5
    with pytest.raises(ValueError, match="none of a dimension"):
        replicas_for((1.0, 1.0, 1.0), Rate(240, 0, 16))


def step(asked: list[Asked] | None, replicas: Replicas, state: ScalingState, at_s: float) -> ScalingDecision:
    return decide(asked, REPLICA, replicas, state, at_s)


@pytest.mark.parametrize(
    ("decision", "action", "target", "words"),
    [
        pytest.param(
            step(elastic(10), have(1), ScalingState(), 0), "hold", 1, "what is wanted", id="one replica is enough"
        ),
        pytest.param(
            step(elastic(25), have(1), ScalingState(), 0), "hold", 1, "not yet for 30 s", id="a wish must last 30 s"
        ),
        pytest.param(
            step(elastic(25), have(1), watched(30, elastic(25), have(1)), 35), "up", 2, "demand needs 2", id="it lasted"
        ),
        pytest.param(
            step(elastic(25, base=20), have(1), ScalingState(), 0), "up", 2, "promises need 2", id="floor: at once"
        ),
        pytest.param(
            step(elastic(80), have(2), watched(30, elastic(80), have(2)), 35),
            "up",
            4,
            "6 in the end",
            id="only doubling",
        ),
        pytest.param(
            step(elastic(80, base=80), have(0), ScalingState(), 0), "up", 5, "promises need 5", id="from nothing"
        ),
        pytest.param(
            step(elastic(25), have(1, 1), watched(30, elastic(25), have(1)), 35),
            "hold",
            2,
            "wanted",
            id="pending counts",
        ),
        pytest.param(
            step(elastic(500), have(1, most=3), watched(30, elastic(500), have(1, most=3)), 35),
            "up",
            2,
            "3 in the end",
            id="never above the most",
        ),
        pytest.param(
            step(elastic(25, 20), have(1, ceiling_left=0), ScalingState(), 0),
            "hold",
            1,
            "ceiling is reached",
            id="ceiling",
        ),
        pytest.param(
            step(elastic(25, 20), have(1, ceiling_left=None), ScalingState(), 0),
            "hold",
            1,
            "ceiling is unknown",
            id="an unknown ceiling fails closed",
        ),
        pytest.param(step(None, have(3), ScalingState(), 0), "hold", 3, "unknown", id="unknown metrics hold"),
        pytest.param(
            step(elastic(5), have(3), watched(300, elastic(5), have(3)), 305), "down", 2, "at most 1", id="one less"
        ),
        pytest.param(
            step(elastic(5), have(3), watched(200, elastic(5), have(3)), 205),
            "hold",
            3,
            "not yet for 300 s",
            id="down waits 300 s",
        ),
        pytest.param(
            step(elastic(5), have(2, 1), watched(300, elastic(5), have(2, 1)), 305),
            "hold",
            3,
            "still starting",
            id="never down while one is starting",
        ),
        pytest.param(
            step(elastic(5), have(1, least=1), watched(300, elastic(5), have(1)), 305),
            "hold",
            1,
            "wanted",
            id="the least",
        ),
    ],
)
def test_rules(decision: ScalingDecision, action: str, target: int, words: str) -> None:
    assert (decision.action, decision.target) == (action, target)
    assert words in decision.reason


def test_a_short_burst_inside_the_window_starts_nothing() -> None:
    state = watched(30, elastic(25), have(1))
    state = step(elastic(5), have(1), state, 35).state
    assert step(elastic(25), have(1), state, 40).action == "hold"
    assert step(elastic(25), have(1), state, 60).action == "hold"


def test_a_peak_in_the_window_keeps_replicas() -> None:
    state = watched(200, elastic(5), have(3))
    state = step(elastic(45), have(3), state, 205).state
    for at_s in range(210, 501, 5):
        decision = step(elastic(5), have(3), state, float(at_s))
        assert decision.action == "hold"
        state = decision.state
    assert step(elastic(5), have(3), state, 510).action == "down"


def test_a_peak_that_smaller_replicas_could_not_carry_keeps_them() -> None:
    """The wishes of the window were reckoned with a larger replica; now the profile is smaller."""
    large, state = REPLICA.times(4), ScalingState()
    for at_s in range(0, 301, 5):
        state = decide(elastic(40 if at_s == 200 else 5), large, have(2), state, float(at_s), advisory=True).state
    decision = step(elastic(5), have(2), state, 305)
    assert decision.action == "hold"
    assert "300 s peak would not fit" in decision.reason


def test_one_down_step_a_minute() -> None:
    state, moved = watched(300, elastic(5), have(4)), []
    count = 4
    for at_s in range(305, 500, 5):
        decision = step(elastic(5), have(count), state, float(at_s))
        state = decision.state
        if decision.action == "down":
            moved.append(at_s)
            count = decision.target
    assert moved == [305, 365, 425]


def test_up_at_most_doubles_within_a_minute() -> None:
    state, path, count = watched(30, elastic(130), have(1)), [], 1
    for at_s in range(35, 260, 5):
        decision = step(elastic(130), have(count), state, float(at_s))
        state = decision.state
        if decision.action == "up":
            path.append((at_s, decision.target))
            count = decision.target
    assert [target for _, target in path] == [2, 4, 8]
    assert all(later - earlier >= 60 for (earlier, _), (later, _) in pairwise(path))


def test_a_sleeping_worker_forgets_what_it_did_not_see() -> None:
    """After a pause longer than the window one look is not 30 s of watching."""
    state = watched(30, elastic(25), have(1))
    late = step(elastic(25), have(1), state, 500)
    assert late.action == "hold"


def test_unknown_metrics_restart_the_windows() -> None:
    state = step(None, have(3), watched(300, elastic(5), have(3)), 305).state
    assert step(elastic(5), have(3), state, 310).action == "hold"


def test_advice_is_not_remembered_as_done() -> None:
    state = watched(300, elastic(5), have(3))
    advised = decide(elastic(5), REPLICA, have(3), state, 305.0, advisory=True)
    again = decide(elastic(5), REPLICA, have(3), advised.state, 310.0, advisory=True)
    assert (advised.action, again.action) == ("down", "down")


def test_the_state_survives_json() -> None:
    state = watched(40, elastic(25, 20), have(1))
    state = step(elastic(25, 20), have(1), state, 45).state
    assert ScalingState.from_document(json.loads(json.dumps(state.as_document()))) == state
    assert ScalingState.from_document({}) == ScalingState()


def live(demand: Callable[[int], float], seconds: int, cold_start_s: int, base: int = 8) -> list[tuple[int, int, int]]:
    """A pool's life: (second, ready, pending), replicas become ready after the cold start, drained ones leave at
    once."""
    state, ready, starting, path = ScalingState(), 1, [], []
    for at_s in range(0, seconds, 5):
        ready += sum(1 for due in starting if due <= at_s)
        starting = [due for due in starting if due > at_s]
        replicas = have(ready, len(starting))
        decision = step(elastic(demand(at_s), base), replicas, state, float(at_s))
        state = decision.state
        if decision.action == "up":
            starting += [at_s + cold_start_s] * (decision.target - replicas.supply)
        if decision.action == "down":
            assert not starting
            ready -= 1
        path.append((at_s, ready, len(starting)))
    return path


def test_a_ramp_does_not_flap() -> None:
    """Experiment 4: demand 8 → 40 slots over 60 s, cold start 60 s: up in steps to the need, no step down, floor
    kept."""
    path = live(lambda at_s: 8 + 32 * min(1.0, max(0.0, (at_s - 60) / 60)), 600, 60)
    supply = [ready + pending for _, ready, pending in path]
    assert supply == sorted(supply)
    assert supply[-1] == 3
    assert path[-1][1] == 3


def test_a_wave_goes_up_and_comes_down_again() -> None:
    path = live(lambda at_s: 40.0 if 60 <= at_s < 300 else 5.0, 1200, 30)
    supply = [ready + pending for _, ready, pending in path]
    assert max(supply) == 3
    assert supply[-1] == 1


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.floats(0, 150)), st.integers(0, 40), st.sampled_from([0, 1, 9, None])),
        min_size=5,
        max_size=60,
    ),
    st.sampled_from([5, 20, 90]),
)
@settings(max_examples=120, deadline=None)
def test_invariants_of_any_life(looks: list[tuple[float | None, int, int | None]], every_s: int) -> None:
    """I16: wanted covers the floor where the pool may grow that far; no down-step while one is starting, never below
    the floor; never above the most or the ceiling; at most doubling."""
    state, ready, starting = ScalingState(), 1, []
    for i, (demand, base, ceiling) in enumerate(looks):
        at_s = float(i * every_s)
        ready += sum(1 for due in starting if due <= at_s)
        starting = [due for due in starting if due > at_s]
        replicas = have(ready, len(starting), ceiling_left=ceiling)
        decision = step(None if demand is None else elastic(demand, base), replicas, state, at_s)
        state = decision.state
        assert decision.reason.endswith(".")
        if demand is None:
            assert decision.action == "hold"
        else:
            assert decision.wanted >= min(decision.floor_replicas, replicas.most)
            assert replicas.least <= decision.wanted <= replicas.most
        if decision.action == "up":
            grown = decision.target - replicas.supply
            assert ceiling is not None
            assert 0 < grown <= ceiling
            assert decision.target <= max(decision.wanted, decision.floor_replicas, 2 * replicas.supply)
            starting += [at_s + 60] * grown
        if decision.action == "down":
            assert not starting
            assert decision.target == ready - 1
            assert decision.target >= decision.floor_replicas
            assert decision.target >= replicas.least
            ready -= 1


@pytest.mark.parametrize("wrong", [{"target_use": 0}, {"elastic_share": -1}, {"up_window_s": -1}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ScalingSettings(**wrong)


def test_wrong_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="least <= most"):
        replace(have(1), most=0)


def test_a_clock_set_back_begins_the_windows_again() -> None:
    state = watched(300, elastic(5), have(3))
    moved = step(elastic(5), have(3), state, 305)
    assert moved.action == "down"
    back = step(elastic(5), have(2), moved.state, 100)
    assert back.action == "hold"
    assert back.state.removed_at_s == 100
    assert back.state.watching_since_s == 100
