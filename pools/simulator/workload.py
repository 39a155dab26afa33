"""Endless requests of made-up tenants with the published statistics of real ones.

Lengths are lognormal, arrivals a Gamma process (coefficient of variation 1 is Poisson, above it comes in clumps) whose
rate follows a day that is speeded up to minutes, with a phase of its own per tenant, and now and then a rush. They
stand near the figures of Azure's conversation trace and of traces sampled from ServeGen: p99/p50 of lengths 4 to 7,
variation of arrivals 1.1 to 1.3, busiest minute 1.2 to 1.7 times the mean.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pools.simulator.prompts import max_tokens_for
from pools.simulator.senders import Order, Sender

STEP_S = 0.25
LEAST_RATE = 0.02


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens: the median and the spread (standard deviation of the logarithm), cut at ``most``."""

    median: float
    spread: float
    most: int

    def draw(self, rng: random.Random) -> int:
        """One length, at least 1."""
        return max(1, min(self.most, round(self.median * math.exp(rng.gauss(0.0, self.spread)))))


@dataclass(frozen=True, slots=True)
class Rush:
    """Every ``every_s`` seconds (first at ``first_s``), for ``lasts_s``, ``times`` the usual rate."""

    first_s: float
    every_s: float
    lasts_s: float
    times: float


@dataclass(frozen=True, slots=True)
class Habit:
    """How one tenant asks: mean requests per second, lengths, clumping, day, rushes.

    ``swing`` (0 to 1) is how far the day moves the rate around its mean; ``day_s`` its length; ``phase`` (0 to 1) where
    the tenant's day begins. Shares are 0 to 1: ``stream``, ``unbounded`` (max_tokens left out), ``abandon``.
    """

    rate: float
    prompt: Lengths
    output: Lengths
    variation: float = 1.2
    swing: float = 0.6
    day_s: float = 240.0
    phase: float = 0.0
    rush: Rush | None = None
    stream: float = 0.85
    unbounded: float = 0.05
    abandon: float = 0.01

    def rate_at(self, seconds: float) -> float:
        """Requests per second at a moment."""
        rate = self.rate * (1.0 + self.swing * math.sin(2 * math.pi * (seconds / self.day_s + self.phase)))
        rush = self.rush
        if rush is not None and seconds >= rush.first_s and (seconds - rush.first_s) % rush.every_s < rush.lasts_s:
            rate *= rush.times
        return max(self.rate * LEAST_RATE, rate)


def arrivals(habit: Habit, rng: random.Random, start_s: float = 0.0) -> Iterator[float]:
    """Moments of requests, for ever: Gamma gaps of mean 1 spent at the present rate."""
    shape = 1.0 / habit.variation**2
    now, gap = start_s, rng.gammavariate(shape, 1.0 / shape) * rng.random()
    while True:
        rate = habit.rate_at(now)
        if gap > rate * STEP_S:
            gap -= rate * STEP_S
            now += STEP_S
            continue
        now += gap / rate
        yield now
        gap = rng.gammavariate(shape, 1.0 / shape)


def demo_orders(
    cast: Iterable[tuple[Sender, Habit]], context_tokens: int, seed: int | None = None, start_s: float = 0.0
) -> Iterator[Order]:
    """The orders of every tenant in order of time, for ever, from ``start_s`` of their day on (times begin at 0)."""
    streams = [
        _orders(sender, habit, context_tokens, random.Random(None if seed is None else f"{seed} {index}"), start_s)
        for index, (sender, habit) in enumerate(cast)
    ]
    return heapq.merge(*streams, key=lambda order: order.at_s)


def _orders(sender: Sender, habit: Habit, context: int, rng: random.Random, start_s: float) -> Iterator[Order]:
    for at in arrivals(habit, rng, start_s):
        output = min(habit.output.draw(rng), context // 2)
        prompt = min(habit.prompt.draw(rng), context - context // 2 - 32)
        bound = None if rng.random() < habit.unbounded else max_tokens_for(output, context // 2)
        yield Order(
            at_s=at - start_s,
            sender=sender,
            input_tokens=prompt,
            output_tokens=output,
            max_tokens=bound,
            stream=rng.random() < habit.stream,
            abandon_after=max(1, output // 2) if rng.random() < habit.abandon else 0,
        )
