"""Who gives way: victims of a stronger request, and the order of sacrifice when capacity is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.mechanism.amounts import Rate
from pools.mechanism.eviction import Lease, degrade, loss_plan
from pools.mechanism.ordering import ClassCode
from pools.mechanism.victims import Candidate, choose_victims

candidates = st.lists(
    st.builds(
        Candidate,
        name=st.uuids().map(str),
        kv=st.integers(0, 9),
        seats=st.integers(1, 3),
        weight_micro=st.sampled_from([10, 20, 30]),
        started_ms=st.integers(0, 50),
    ),
    max_size=9,
)


def one(name: str, weight: int = 100, started: int = 0, kv: int = 10) -> Candidate:
    return Candidate(name, kv, 1, weight, started)


@pytest.mark.parametrize(
    ("running", "need", "names"),
    [
        pytest.param([one("light", 50), one("heavy", 100)], (1, 1), ["light"], id="lowest weight first"),
        pytest.param([one("old", started=1), one("young", started=2)], (1, 1), ["young"], id="then the youngest"),
        pytest.param([one("tiny", 50, kv=1), one("big", 100, kv=50)], (40, 1), ["big"], id="the unneeded is spared"),
        pytest.param([one("a")], (0, 0), [], id="no need, no victim"),
    ],
)
def test_victims(running: list[Candidate], need: tuple[int, int], names: list[str]) -> None:
    assert [victim.name for victim in choose_victims(running, *need).taken] == names


@given(candidates, st.integers(0, 20), st.integers(0, 6))
def test_no_victim_could_be_spared(running: list[Candidate], kv: int, seats: int) -> None:
    """I13: whenever all together would do, the chosen do, and without any one of them they would not."""
    choice = choose_victims(running, kv, seats)
    assert choice.enough is (sum(i.kv for i in running) >= kv and sum(i.seats for i in running) >= seats)
    assert (choice.kv, choice.seats) == (sum(i.kv for i in choice.taken), sum(i.seats for i in choice.taken))
    if choice.enough:
        assert choice.kv >= kv
        assert choice.seats >= seats
        for spared in choice.taken:
            assert choice.kv - spared.kv < kv or choice.seats - spared.seats < seats


def slots(count: int) -> Rate:
    return Rate(15 * count, 100 * count, count)


def lease(number: int, kind: ClassCode, base: int, bound_at: int) -> Lease:
    return Lease(number, kind, slots(base), bound_at)


LEASES = [
    lease(1, ClassCode.DEDICATED, 4, 300),
    lease(2, ClassCode.GUARANTEED, 4, 100),
    lease(3, ClassCode.GUARANTEED, 4, 200),
    lease(4, ClassCode.ELASTIC, 9, 400),
]


@pytest.mark.parametrize(
    ("left", "marked"),
    [
        pytest.param(12, (), id="all reserves fit, elastic is not counted"),
        pytest.param(11, (3,), id="the newest guaranteed first"),
        pytest.param(7, (3, 2), id="then the older"),
        pytest.param(3, (3, 2, 1), id="dedicated last"),
        pytest.param(0, (3, 2, 1), id="nothing left"),
    ],
)
def test_degrade(left: int, marked: tuple[int, ...]) -> None:
    assert degrade(slots(left), LEASES) == marked


@given(
    st.lists(st.tuples(st.sampled_from(list(ClassCode)), st.integers(1, 9), st.integers(0, 99)), max_size=8),
    st.integers(0, 40),
)
def test_remaining_reserves_fit(rows: list[tuple[ClassCode, int, int]], left: int) -> None:
    """I12 after a loss: the rank-0 leases not degraded fit, and sparing the last one marked would not."""
    leases = [lease(i, *row) for i, row in enumerate(rows)]
    marked = degrade(slots(left), leases)
    reserved = {item.entitlement_id: item.base.concurrency for item in leases if item.service_class <= 1}
    assert sum(base for number, base in reserved.items() if number not in marked) <= left
    if marked:
        assert sum(base for number, base in reserved.items() if number not in marked[:-1]) > left


@pytest.mark.parametrize(
    ("left", "evicted", "stop_spot", "shrunk", "degraded"),
    [
        pytest.param(20, 0, False, 0, (), id="all still fits"),
        pytest.param(18, 2, False, 0, (), id="preemptible alone gives way"),
        pytest.param(15, 3, True, 0, (), id="then spot is stopped"),
        pytest.param(12, 3, True, 3, (), id="then elastic shrinks"),
        pytest.param(11, 3, True, 4, (3,), id="only then a promise breaks"),
    ],
)
def test_loss_plan(left: int, evicted: int, stop_spot: bool, shrunk: int, degraded: tuple[int, ...]) -> None:
    use = [slots(8), slots(7), slots(2), slots(3)]
    plan = loss_plan(slots(left), use, LEASES)
    assert (plan.evict_concurrency, plan.evict_kv_bytes) == (evicted, 100 * evicted)
    assert (plan.stop_spot, plan.shrink_elastic_concurrency, plan.degraded) == (stop_spot, shrunk, degraded)
    assert plan.sentence.endswith(".")


def test_odd_input_is_refused() -> None:
    with pytest.raises(ValueError, match="4 ranks"):
        loss_plan(slots(1), [slots(1)], [])
