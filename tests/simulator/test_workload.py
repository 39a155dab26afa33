"""The made-up tenants have the statistics they are said to have."""

from __future__ import annotations

import itertools
import random
import statistics

import pytest

from pools.simulator.senders import Sender
from pools.simulator.workload import Habit, Lengths, Rush, arrivals, demo_orders

ACME = Sender("k", "acme", model="m")
SHORT = Lengths(100, 0.72, 1000)


def times(habit: Habit, seconds: float) -> list[float]:
    return list(itertools.takewhile(lambda at: at < seconds, arrivals(habit, random.Random(7))))


@pytest.mark.parametrize("variation", [1.0, 1.3])
def test_gaps_have_the_mean_and_the_variation(variation: float) -> None:
    seen = times(Habit(2.0, SHORT, SHORT, variation=variation, swing=0.0), 5000)
    gaps = [later - sooner for sooner, later in itertools.pairwise(seen)]
    assert len(seen) / 5000 == pytest.approx(2.0, rel=0.06)
    assert statistics.pstdev(gaps) / statistics.fmean(gaps) == pytest.approx(variation, rel=0.08)


def test_the_day_moves_the_rate_and_a_rush_multiplies_it() -> None:
    habit = Habit(5.0, SHORT, SHORT, swing=0.8, day_s=100.0)
    seen = times(habit, 2000)
    day, night = (sum(low <= at % 100 < low + 50 for at in seen) for low in (0, 50))
    assert day / night == pytest.approx((1 + 1.6 / 3.1416) / (1 - 1.6 / 3.1416), rel=0.1)
    assert len(seen) == pytest.approx(10_000, rel=0.05)
    rush = Habit(1.0, SHORT, SHORT, swing=0.0, rush=Rush(20, 100, 10, 6.0))
    rushed = times(rush, 2000)
    assert sum(20 <= at % 100 < 30 for at in rushed) / 200 == pytest.approx(6.0, rel=0.12)
    assert rush.rate_at(19) == rush.rate_at(31) == 1.0


def test_lengths_are_lognormal_within_the_context_and_orders_come_in_time() -> None:
    cast = [(ACME, Habit(9.0, SHORT, Lengths(40, 0.76, 400), phase=index / 3)) for index in range(3)]
    made = list(itertools.islice(demo_orders(cast, 1024, seed=3), 6000))
    assert all(sooner.at_s <= later.at_s for sooner, later in itertools.pairwise(made))
    prompts = sorted(order.input_tokens for order in made)
    assert prompts[3000] == pytest.approx(100, rel=0.06)
    assert prompts[5940] / prompts[3000] == pytest.approx(4.8, rel=0.2)
    assert all(order.input_tokens + (order.max_tokens or order.output_tokens) <= 1024 for order in made)
    assert sum(order.max_tokens is None for order in made) / 6000 == pytest.approx(0.05, abs=0.02)
    assert [order.at_s for order in itertools.islice(demo_orders(cast, 1024, seed=3), 6000)] == [
        order.at_s for order in made
    ]
