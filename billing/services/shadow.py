"""Shadows of tiers, judged by the requests that really came: the books of usage meet the mechanism of pools here.

Nothing of it is enforced, and nothing but counts is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from billing.selectors.requests import requests_asked
from pools.services.shadow_judge import Judged, Trial, tier_members, trial_judge
from pools.services.shadow_runs import (
    Window,
    shadow_forget,
    shadow_pools,
    shadow_runs_open,
    shadow_store,
    shadow_windows,
)
from pools.services.tier_terms import TierTerms

MOST_ASKS = 400_000
"""Requests of one pool and window that are replayed; a busier window is judged up to there."""


def shadows_evaluate(now: datetime) -> int:
    """Judges what is due of every shadow; returns how many counts were written. Safe at any time."""
    written = 0
    for run in shadow_runs_open(now):
        for window in shadow_windows(run, now):
            written += shadow_store(window, _judged(window, now))
    shadow_forget(now)
    return written


def _judged(window: Window, now: datetime) -> Iterator[Judged]:
    other = TierTerms.of_version(window.run.version)
    for pool in shadow_pools(window.tier):
        yield from judged_in(Trial(pool, window.tier, other, window.start, window.end), now)


def judged_in(trial: Trial, now: datetime, most: int = MOST_ASKS) -> list[Judged]:
    """A trial on the settled requests of its pool."""
    members = tier_members(trial.tier, trial.pool)
    asks = requests_asked(trial.pool, [row.pk for row in members], trial.warm, trial.end, most)
    return trial_judge(trial, members, asks, now)
