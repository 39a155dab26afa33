"""Other terms on the same requests: a table of cases, and what must hold whatever came."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.choices import Refusal
from pools.mechanism.ordering import ClassCode, WeightFactors
from pools.mechanism.shadow import Asked, Bounds, Levels, Span, judge, limits_for

USUAL = Bounds(refill=100, bucket=1000, cap_kv=1000, cap_seats=4, limit_kv=1000, limit_seats=4, largest_output=512)
FOREVER = 10**9


def ask(at_ms: int = 0, **changes: Any) -> Asked:
    usual = Asked(at_ms, tokens=100, kv_bytes=100, seats=1, charged=100, runs_ms=1000)
    return usual._replace(**changes)


def under(other: Bounds, asks: list[Asked], contended: bool = False, real: Bounds = USUAL) -> list[str]:
    """The codes, "" for admitted."""
    codes = judge(asks, [Span(FOREVER, real, other)], [(0, FOREVER)] if contended else [])
    return [Refusal(code).code if code else "" for code in codes]


def together(count: int, **changes: Any) -> list[Asked]:
    return [ask(number, **changes) for number in range(count)]


def usual(**changes: float) -> Bounds:
    return USUAL._replace(**changes)


TWO, FULL = together(2), [ask(refused=9), ask(refused=10)]
# name, other bounds, asks, expected; in a pool that is not contended
CALM: list[tuple[str, Bounds, list[Asked], list[str]]] = [
    ("equal terms admit what was admitted, even above the cap", USUAL, together(5), [""] * 5),
    ("half the slots", usual(cap_seats=2), together(4), ["", "", "concurrency", "concurrency"]),
    ("a slot is free again", usual(cap_seats=1), [ask(0), ask(999), ask(1000)], ["", "concurrency", ""]),
    ("half the KV cache", usual(cap_kv=150), TWO, ["", "kv_budget"]),
    ("a smaller bucket", usual(bucket=250), together(4), ["", "", "token_budget", "token_budget"]),
    ("the bucket refills", usual(bucket=100), [ask(0), ask(500), ask(1000)], ["", "token_budget", ""]),
    ("what was not used comes back", usual(bucket=120, refill=0), [ask(0, charged=10), ask(1000)], ["", ""]),
    ("larger than the bucket", usual(bucket=90), [ask()], ["never_fits"]),
    ("larger than the cap of bytes", usual(cap_kv=90), [ask()], ["never_fits"]),
    ("more choices than slots", usual(cap_seats=2), [ask(seats=3)], ["never_fits"]),
    ("a longer answer than allowed", usual(largest_output=128), [ask(output=256)], ["never_fits"]),
    ("nearly as long as allowed is only inferred", usual(largest_output=128), [ask(output=135)], [""]),
    ("a lower limit matters only when contended", usual(limit_seats=1), TWO, ["", ""]),
    ("more slots admit who was refused for slots", usual(cap_seats=9), [ask(refused=6)], [""]),
    ("more slots do not help who lacked tokens", usual(cap_seats=9), [ask(refused=7)], ["token_budget"]),
    ("more tokens help", usual(refill=200), [ask(refused=7)], [""]),
    ("who gets past one bound meets the next", usual(cap_seats=9, bucket=50), [ask(refused=6)], ["never_fits"]),
    ("suspended stays suspended", usual(cap_seats=99), [ask(refused=1)], ["suspended"]),
]
SCARCE: list[tuple[str, Bounds, list[Asked], list[str]]] = [
    ("equal terms refuse what was refused", USUAL, [ask(refused=6), ask(refused=11)], ["concurrency", "low_priority"]),
    ("a lower limit in a contended pool", usual(limit_seats=1), TWO, ["", "low_priority"]),
    ("a lower limit of bytes", usual(limit_kv=150), TWO, ["", "low_priority"]),
    ("it waits until a slot is free", usual(limit_seats=1, hold_ms=200), [ask(0), ask(900)], ["", ""]),
    ("it waits in vain", usual(limit_seats=1, hold_ms=50), [ask(0), ask(900)], ["", "low_priority"]),
    ("a higher limit admits", usual(limit_seats=8), [ask(refused=11)], [""]),
    ("a full pool stays full", usual(cap_seats=99, limit_seats=99), FULL, ["pool_full", "no_capacity"]),
]


@pytest.mark.parametrize(("other", "asks", "expected"), [c[1:] for c in CALM], ids=[c[0] for c in CALM])
def test_in_a_calm_pool(other: Bounds, asks: list[Asked], expected: list[str]) -> None:
    assert under(other, asks) == expected


@pytest.mark.parametrize(("other", "asks", "expected"), [c[1:] for c in SCARCE], ids=[c[0] for c in SCARCE])
def test_in_a_contended_pool(other: Bounds, asks: list[Asked], expected: list[str]) -> None:
    assert under(other, asks, contended=True) == expected


def test_bounds_change_with_time() -> None:
    tight = USUAL._replace(cap_seats=0.5)
    codes = judge([ask(0), ask(5000), ask(20_000)], [Span(4000, USUAL, USUAL), Span(10_000, USUAL, tight)])
    assert codes == [0, Refusal.NEVER_FITS, Refusal.NEVER_FITS], "the last span holds on"


def test_contended_only_while_it_was() -> None:
    low = USUAL._replace(limit_seats=0.5)
    asks = [ask(0), ask(1500), ask(2500), ask(4500)]
    assert judge(asks, [Span(FOREVER, USUAL, low)], [(1000, 2000), (4000, 5000)]) == [0, 11, 0, 11]


def test_without_bounds_there_is_nothing_to_say() -> None:
    with pytest.raises(ValueError, match="bounds"):
        judge([ask()], [])


ASKS = st.lists(
    st.builds(
        Asked,
        at_ms=st.integers(0, 5000),
        tokens=st.integers(1, 400),
        kv_bytes=st.integers(1, 400),
        seats=st.integers(1, 3),
        charged=st.integers(0, 400),
        runs_ms=st.integers(1, 4000),
        output=st.integers(0, 600),
        refused=st.sampled_from([0, 0, 0, *Refusal]),
    ),
    max_size=25,
).map(lambda asks: sorted(asks, key=lambda one: one.at_ms))
FACTORS = st.lists(st.sampled_from([1.0, 1.5, 3.0]), min_size=6, max_size=6)


def scaled(factors: list[float], down: bool = False) -> Bounds:
    by = [1 / factor if down else factor for factor in factors]
    return Bounds(*(value * factor for value, factor in zip(USUAL[:6], by, strict=True)), USUAL.largest_output)


@given(ASKS, st.booleans())
def test_equal_terms_give_equal_answers(asks: list[Asked], contended: bool) -> None:
    assert judge(asks, [Span(FOREVER, USUAL, USUAL)], [(0, FOREVER)] if contended else []) == [a.refused for a in asks]


@given(ASKS, FACTORS, st.booleans())
def test_tighter_terms_never_admit_more(asks: list[Asked], factors: list[float], contended: bool) -> None:
    codes = judge(asks, [Span(FOREVER, USUAL, scaled(factors, down=True))], [(0, FOREVER)] if contended else [])
    assert all(code for code, one in zip(codes, asks, strict=True) if one.refused)


@given(ASKS, FACTORS, st.booleans())
def test_looser_terms_never_refuse_more(asks: list[Asked], factors: list[float], contended: bool) -> None:
    codes = judge(asks, [Span(FOREVER, USUAL, scaled(factors))], [(0, FOREVER)] if contended else [])
    assert all(not code for code, one in zip(codes, asks, strict=True) if not one.refused)


def levels(**changes: Any) -> Levels:
    """A guaranteed entitlement and two elastic ones that want more than there is."""
    base = np.array([[60.0, 600, 6], [50, 500, 5], [50, 500, 5]])
    usual = Levels(
        service_class=np.array([ClassCode.GUARANTEED, ClassCode.ELASTIC, ClassCode.ELASTIC]),
        bound=np.array([True, True, True]),
        class_weight=np.array([1000.0, 100, 100]),
        slo_ms=np.full(3, 1000.0),
        lendable=np.array([0.5, 0, 0]),
        base=base,
        cap=base * np.array([[1], [2], [2]]),
        use=base.copy(),
        demand=base * 2,
        debt=np.zeros(3),
        burst=np.zeros(3),
        capacity=np.array([160.0, 1600, 16]),
        sequence_kv_bytes=100.0,
        factors=WeightFactors(),
    )
    return replace(usual, **changes)


def test_the_fill_of_the_tick() -> None:
    limit = limits_for(levels())
    assert limit.sum(axis=0) == pytest.approx([160, 1600, 16])
    assert limit[0] == pytest.approx([60, 600, 6]) and limit[1] == pytest.approx(limit[2])


@pytest.mark.parametrize(
    "change", [{"class_weight": np.array([1000.0, 20, 100])}, {"slo_ms": np.array([1e3, 9e3, 1e3])}]
)
def test_less_weight_gets_less_when_scarce(change: dict[str, Any]) -> None:
    limit = limits_for(levels(**change, capacity=np.array([140.0, 1400, 14])))
    assert limit[1, 2] < limit[2, 2] and limit[0] == pytest.approx([60, 600, 6])


def test_a_lower_cap_and_an_unbound_one() -> None:
    cap = levels().cap.copy()
    cap[1] = [50, 500, 5]
    limit = limits_for(levels(cap=cap, bound=np.array([True, True, False])))
    assert limit[1] == pytest.approx([50, 500, 5]) and not limit[2].any()
    assert not limits_for(levels(bound=np.zeros(3, dtype=bool))).any()
