"""How many replicas a pool should have, and when it may move there.

Floor and need come from the same capacity record that binding and limits read. Windows are explicit state: the caller
passes the old state in and keeps the new one. Source: Token Pools design (the paper scales on entitlements, without
rules).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pools.mechanism.amounts import Rate
from pools.mechanism.ordering import ClassCode

Triple = tuple[float, float, float]
Action = Literal["up", "down", "hold"]


@dataclass(frozen=True, slots=True)
class ScalingSettings:
    """The rules' numbers: target use, shares of elastic (eta) and spot (zeta) that buy replicas, debt's share,
    windows in s."""

    target_use: float = 0.85
    elastic_share: float = 1.0
    spot_share: float = 0.0
    debt_share: float = 0.5
    up_window_s: float = 30.0
    down_window_s: float = 300.0
    doubling_s: float = 60.0
    down_pause_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.target_use <= 1 or min(self.elastic_share, self.spot_share, self.debt_share) < 0:
            raise ValueError(f"target_use must be in (0, 1], shares 0 or more: {self}")
        if min(self.up_window_s, self.down_window_s, self.doubling_s, self.down_pause_s) < 0:
            raise ValueError(f"windows must be 0 or more seconds: {self}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One bound (or pending) entitlement as scaling sees it. ``demand`` and ``cap`` are levels; debt -1..1."""

    service_class: ClassCode
    base: Rate
    cap: Rate
    demand: Triple
    debt: float = 0.0


@dataclass(frozen=True, slots=True)
class Replicas:
    """What there is: ``ready`` serve, ``pending`` start, ``draining`` end; the pool's limits; ``ceiling_left`` more
    may be started under the cluster-wide accelerator ceiling, None when that number is unknown (then none may)."""

    ready: int
    pending: int
    draining: int
    least: int
    most: int
    ceiling_left: int | None

    def __post_init__(self) -> None:
        if min(self.ready, self.pending, self.draining, self.least) < 0 or self.most < self.least:
            raise ValueError(f"counts must be 0 or more and least <= most: {self}")

    @property
    def supply(self) -> int:
        """Replicas that serve or soon will."""
        return self.ready + self.pending


@dataclass(frozen=True, slots=True)
class Wish:
    """One past look: when, the replicas wanted, and the need at that moment."""

    at_s: float
    wanted: int
    need: Triple


@dataclass(frozen=True, slots=True)
class ScalingState:
    """What one decision hands to the next: the looks of the last 300 s, when replicas were started and last removed,
    since when somebody watches."""

    looks: tuple[Wish, ...] = ()
    started: tuple[tuple[float, int], ...] = ()
    removed_at_s: float | None = None
    watching_since_s: float | None = None

    def as_document(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> ScalingState:
        """The state :meth:`as_document` gave; an empty document is a fresh state."""
        looks = tuple(
            Wish(one["at_s"], one["wanted"], (one["need"][0], one["need"][1], one["need"][2]))
            for one in document.get("looks", ())
        )
        started = tuple((at_s, count) for at_s, count in document.get("started", ()))
        return cls(looks, started, document.get("removed_at_s"), document.get("watching_since_s"))


@dataclass(frozen=True, slots=True)
class ScalingDecision:
    """A row of the decision log: inputs, floor, need, what was chosen and why in words, and the next state.

    ``target`` is the number of replicas to have (ready + pending) after applying it; ``wanted`` is N*, before the
    rules.
    """

    action: Action
    target: int
    wanted: int
    floor_replicas: int
    need_replicas: int
    commit: Triple
    need: Triple
    reason: str
    state: ScalingState = field(repr=False)


def commit_level(asked: Sequence[Asked], settings: ScalingSettings) -> Triple:
    """commit_d = sum of rank-0 bases + elastic_share x sum of elastic bases, in units of each dimension."""
    total = [0.0, 0.0, 0.0]
    for one in asked:
        share = {ClassCode.DEDICATED: 1.0, ClassCode.GUARANTEED: 1.0, ClassCode.ELASTIC: settings.elastic_share}
        for d, base in enumerate(one.base.as_tuple()):
            total[d] += share.get(one.service_class, 0.0) * base
    return (total[0], total[1], total[2])


def need_level(asked: Sequence[Asked], settings: ScalingSettings) -> Triple:
    """need_d = dedicated max(base, min(D, cap)) + guaranteed base + elastic [max(eta x base, min(D, cap)) +
    debt_share x max(0, debt) x base] + zeta x spot min(D, cap); preemptible buys nothing. Units of each dimension."""
    total = [0.0, 0.0, 0.0]
    for one in asked:
        for d in range(3):
            base, wants = float(one.base.as_tuple()[d]), min(one.demand[d], one.cap.as_tuple()[d])
            if one.service_class == ClassCode.DEDICATED:
                total[d] += max(base, wants)
            elif one.service_class == ClassCode.GUARANTEED:
                total[d] += base
            elif one.service_class == ClassCode.ELASTIC:
                total[d] += max(settings.elastic_share * base, wants) + settings.debt_share * max(0.0, one.debt) * base
            elif one.service_class == ClassCode.SPOT:
                total[d] += settings.spot_share * wants
    return (total[0], total[1], total[2])


def replicas_for(level: Triple, replica: Rate, share: float = 1.0) -> int:
    """max over dimensions of ceil(level / (share x one replica)); a hair of rounding noise does not buy a replica.

    Raises ValueError when a dimension is needed that a replica does not have.
    """
    most = 0
    for amount, each in zip(level, replica.as_tuple(), strict=True):
        if amount > 0 and each <= 0:
            raise ValueError(f"a replica has none of a dimension that is needed: {replica}")
        if amount > 0:
            most = max(most, math.ceil(amount / (share * each) - 1e-9))
    return most


def decide(
    asked: Sequence[Asked] | None,
    replica: Rate,
    have: Replicas,
    state: ScalingState,
    now_s: float,
    settings: ScalingSettings | None = None,
    *,
    advisory: bool = False,
) -> ScalingDecision:
    """One scaling decision for one pool at ``now_s`` (any steady clock). ``asked`` is None when metrics are unknown:
    hold.

    Up by the smallest wish of 30 s (at once below the floor), at most doubling per 60 s, never beyond the ceiling.
    Down by the largest wish of 300 s, one per 60 s, when commit and the 300 s peak fit the target use of one replica
    less, and never while a replica is still pending. ``advisory`` decides alike but remembers no start or removal,
    since nobody will carry it out. When the clock was set back, what was seen is forgotten and the windows begin again.
    """
    rules = settings or ScalingSettings()
    if asked is None:
        none = (0.0, 0.0, 0.0)
        reason = f"Metrics are unknown, so nothing moves: {have.supply} replicas stay."
        return ScalingDecision(
            "hold", have.supply, have.supply, 0, 0, none, none, reason, replace(state, looks=(), watching_since_s=None)
        )
    commit, need = commit_level(asked, rules), need_level(asked, rules)
    floor_count, need_count = replicas_for(commit, replica), replicas_for(need, replica, rules.target_use)
    wanted = min(max(floor_count, need_count, have.least), have.most)
    kept = _remember(state, Wish(now_s, wanted, need), rules)
    draft = ScalingDecision("hold", have.supply, wanted, floor_count, need_count, commit, need, "", kept)
    if wanted != have.supply:
        moved = _up(draft, have, now_s, rules) if wanted > have.supply else _down(draft, replica, have, now_s, rules)
        return replace(moved, state=kept) if advisory else moved
    return replace(draft, reason=f"{_are(have.supply)} what is wanted: floor {floor_count}, need {need_count}.")


def _are(count: int) -> str:
    return f"{count} replica is" if count == 1 else f"{count} replicas are"


def _stay(count: int) -> str:
    return f"{count} stays" if count == 1 else f"{count} stay"


def _remember(state: ScalingState, look: Wish, rules: ScalingSettings) -> ScalingState:
    now_s = look.at_s
    set_back = bool(state.looks) and state.looks[-1].at_s > now_s
    asleep = not state.looks or now_s - state.looks[-1].at_s > rules.up_window_s
    longest = max(rules.up_window_s, rules.down_window_s)
    looks = () if set_back else tuple(old for old in state.looks if old.at_s > now_s - longest)
    removed_at_s = state.removed_at_s if state.removed_at_s is None else min(state.removed_at_s, now_s)
    return ScalingState(
        looks=(*looks, look),
        started=tuple((min(at_s, now_s), count) for at_s, count in state.started if at_s > now_s - rules.doubling_s),
        removed_at_s=removed_at_s,
        watching_since_s=now_s if set_back or asleep or state.watching_since_s is None else state.watching_since_s,
    )


def _watched_s(state: ScalingState, now_s: float) -> float:
    return now_s - (now_s if state.watching_since_s is None else state.watching_since_s)


def _up(draft: ScalingDecision, have: Replicas, now_s: float, rules: ScalingSettings) -> ScalingDecision:
    floor_count = min(max(draft.floor_replicas, have.least), have.most)
    steady = min(look.wanted for look in draft.state.looks if look.at_s >= now_s - rules.up_window_s)
    settled = _watched_s(draft.state, now_s) >= rules.up_window_s
    goal = max(floor_count, steady if settled else 0)
    if goal <= have.supply:
        reason = f"{_are(draft.wanted)} wanted, but not yet for {rules.up_window_s:.0f} s: {_stay(have.supply)}."
        return replace(draft, reason=reason)
    before = have.supply - sum(count for _, count in draft.state.started)
    doubled = 2 * before if before > 0 else max(1, floor_count)
    step = min(goal, max(doubled, have.supply)) - have.supply
    if step <= 0:
        wait = f"the last {rules.doubling_s:.0f} s doubled them already"
        return replace(draft, reason=f"{_are(goal)} wanted, but {wait}: {_stay(have.supply)}.")
    if have.ceiling_left is None:
        return replace(draft, reason=f"{_are(goal)} wanted, but the accelerator ceiling is unknown: none is started.")
    allowed = min(step, max(0, have.ceiling_left))
    if allowed == 0:
        return replace(
            draft, reason=f"{_are(goal)} wanted, but the accelerator ceiling is reached: {_stay(have.supply)}."
        )
    target = have.supply + allowed
    cause = (
        f"the promises need {floor_count}"
        if floor_count > have.supply
        else f"demand needs {steady} for {rules.up_window_s:.0f} s"
    )
    capped = "" if target == goal else f", {goal} in the end"
    state = replace(draft.state, started=(*draft.state.started, (now_s, allowed)))
    return replace(
        draft,
        action="up",
        target=target,
        state=state,
        reason=f"From {have.supply} to {target} replicas{capped}: {cause}.",
    )


def _down(
    draft: ScalingDecision, replica: Rate, have: Replicas, now_s: float, rules: ScalingSettings
) -> ScalingDecision:
    window = [look for look in draft.state.looks if look.at_s >= now_s - rules.down_window_s]
    largest = max(look.wanted for look in window)
    stays = f"{have.supply} replica stays" if have.supply == 1 else f"{have.supply} replicas stay"
    stay = f"{stays} although {draft.wanted} would do: "
    if have.pending:
        return replace(draft, reason=stay + f"{have.pending} {'is' if have.pending == 1 else 'are'} still starting.")
    if _watched_s(draft.state, now_s) < rules.down_window_s or largest >= have.supply:
        return replace(draft, reason=stay + f"not yet for {rules.down_window_s:.0f} s (largest wish {largest}).")
    removed_at_s = draft.state.removed_at_s
    if removed_at_s is not None and now_s - removed_at_s < rules.down_pause_s:
        return replace(draft, reason=stay + f"one was removed less than {rules.down_pause_s:.0f} s ago.")
    fewer = have.supply - 1
    peak = tuple(max(look.need[d] for look in window) for d in range(3))
    for level, name in ((draft.commit, "promises"), (peak, f"{rules.down_window_s:.0f} s peak")):
        if not _fits(level, replica.times(fewer), rules.target_use):
            return replace(draft, reason=stay + f"the {name} would not fit {rules.target_use:.0%} of {fewer}.")
    if fewer < max(draft.floor_replicas, have.least):
        return replace(draft, reason=stay + f"the floor is {max(draft.floor_replicas, have.least)}.")
    reason = f"From {have.supply} to {fewer} replicas: at most {largest} were wanted for {rules.down_window_s:.0f} s."
    return replace(draft, action="down", target=fewer, reason=reason, state=replace(draft.state, removed_at_s=now_s))


def _fits(level: Sequence[float], capacity: Rate, share: float) -> bool:
    return all(amount <= share * has + 1e-9 for amount, has in zip(level, capacity.as_tuple(), strict=True))
