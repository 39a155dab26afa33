"""An explanation as people read it: each formula with its numbers, each stage and step in words. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pools.choices import REFUSAL_RULES, Refusal
from pools.mechanism.admission import Ask
from pools.mechanism.explain import DebtStory, LimitStory, StageStory, WeightStory
from pools.mechanism.explain_admission import AdmissionStory, Check, Step
from pools.mechanism.what_if import WhatIf
from portal.dashboards import numbers

MINUS, TIMES, OVER = "−", "×", "÷"
NOTHING = 0.0005
"""What rounds to 0.000 counts as nothing in words, too."""


def plain(value: float) -> str:
    """A bare number in three significant digits, with separators and no prefix: what formulas are written in."""
    size = abs(value)
    if size == 0:
        return "0"
    if size < NOTHING:
        return "0.000"
    text = f"{size:,.0f}" if size >= 1000 else numbers.digits(size)
    return f"{MINUS}{text}" if value < 0 else text


@dataclass(frozen=True, slots=True)
class Term:
    """One factor of a formula: its sign, value, where it comes from in numbers, and what it means."""

    name: str
    sign: str
    value: str
    exact: str
    numbers: str
    words: str


def weight_terms(told: WeightStory, literal: bool = False) -> list[Term]:
    """The factors of the weight, in the order they are multiplied."""
    owed = told.debt > NOTHING
    ahead = told.debt < -NOTHING
    size = f"{plain(told.debt_factor)} {TIMES} {plain(abs(told.debt))}"
    cut = "" if literal else ", 10"
    ratio = f"{numbers.milliseconds(told.slo_ms)} {OVER} {numbers.milliseconds(told.mean_slo_ms)}"
    ratio = f"min({ratio}{cut})" if cut else ratio
    return [
        Term(
            "class weight",
            "",
            plain(told.class_weight),
            repr(told.class_weight),
            "set by the tier",
            "It orders entitlements of the same rank only; a stronger rank always comes first.",
        ),
        Term(
            "latency target",
            OVER,
            plain(told.slo_term),
            repr(told.slo_term),
            f"1 + {plain(told.slo_factor)} {TIMES} {ratio} = 1 + {plain(told.slo_factor)} {TIMES} "
            f"{plain(told.slo_ratio if literal else min(told.slo_ratio, 10.0))}",
            "Its target against the mean target of the pool: a tighter one weighs more.",
        ),
        Term(
            "burst",
            OVER,
            plain(told.burst_term),
            repr(told.burst_term),
            f"1 + {plain(told.burst_factor)} {TIMES} {plain(told.burst)}",
            "Standing use above its promise weighs against it."
            if told.burst > NOTHING
            else "It did not stand above its promise, so nothing is taken off.",
        ),
        Term(
            "debt",
            TIMES,
            plain(told.debt_term),
            repr(told.debt_term),
            f"1 {OVER} (1 + {size})" if ahead and not literal else f"1 {MINUS if ahead else '+'} {size}",
            "It is owed, which moves it forward."
            if owed
            else "It had more than promised, which holds it back."
            if ahead
            else "Nothing is owed either way.",
        ),
    ]


def debt_lines(told: DebtStory) -> list[tuple[str, str, str]]:
    """(what, formula with numbers, words) of gap, debt and burst."""
    burst = (
        "burst",
        f"{plain(told.burst_kept)} {TIMES} {plain(told.burst_before)} + {plain(1 - told.burst_kept)} {TIMES} "
        f"{plain(told.excess)} = {plain(told.burst)}",
        "Use above the promise, summed over the dimensions and averaged over time.",
    )
    if not told.applies:
        return [burst]
    raw = (min(told.base, told.demand) - told.served) / told.base
    formula = (
        f"(min(baseline {plain(told.base)}, demand {plain(told.demand)}) {MINUS} served {plain(told.served)}) {OVER} "
        f"{plain(told.base)} = {plain(raw)}"
    )
    if raw > NOTHING and not told.patient:
        words = (
            "Nothing of it was refused within the last minute, so it had less by its own choice: the gap counts as 0."
        )
    elif abs(raw - told.gap) > NOTHING:
        words = "Cut to the range from −1 to 1."
    elif told.gap > NOTHING:
        words = f"Served below its promise over the last {plain(told.window_s)} s, while it asked for more."
    elif told.gap < -NOTHING:
        words = f"Served above its promise over the last {plain(told.window_s)} s."
    else:
        words = f"Served as promised, or asked for nothing, over the last {plain(told.window_s)} s."
    half = told.tau_s * math.log(2)
    debt = (
        f"{plain(told.kept)} {TIMES} {plain(told.before)} + {plain(1 - told.kept)} {TIMES} {plain(told.gap)} = "
        f"{plain(told.debt)}"
    )
    return [
        ("gap", formula, words),
        ("debt", debt, f"The old debt fades: once served as promised it halves every {plain(half)} s."),
        burst,
    ]


STAGES = {
    "reserve": ("Reserve", "Dedicated and guaranteed take their baseline, less what is lent."),
    "baseline": ("Elastic baselines", "By weight × baseline, to the baseline or what is asked for."),
    "surplus": ("Surplus: dedicated, elastic", "By weight × baseline, to what is asked for below the cap."),
    "spot": ("Spot", "By weight × cap, to what is asked for below the cap."),
    "preemptible": ("Preemptible", "By weight × cap, to what is asked for below the cap."),
    "headroom": ("Head-room", "What nobody asked for, in equal parts, to the cap."),
}
WHY = {
    "not_yours": "not for its class",
    "nothing_missing": "nothing missing",
    "full": "to its full level of {target}",
    "ran_out": "the pool had no more",
    "no_weight": "no pull in this stage",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """What one stage gave in one dimension. ``pool``: the pool's side of it, for operators."""

    given: str
    why: str
    pool: str
    nothing: bool


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage of the fill."""

    title: str
    words: str
    cells: list[Cell]


def stage_rows(told: LimitStory) -> list[StageRow]:
    """The stages that concern this entitlement."""
    rows = []
    for stage in told.stages:
        if any(why != "not_yours" for why in stage.why):
            title, words = STAGES[stage.name]
            rows.append(StageRow(title, words, [_cell(stage, d) for d in range(3)]))
    return rows


def _cell(stage: StageStory, dimension: int) -> Cell:
    given, why = stage.given[dimension], stage.why[dimension]
    target = numbers.amount(stage.target[dimension], dimension)
    left, others = stage.left[dimension], stage.others[dimension]
    return Cell(
        given=f"+{numbers.amount(given, dimension)}" if given > 0 else "0",
        why=WHY[why].format(target=target),
        pool=f"of {numbers.amount(left, dimension)} left, {numbers.amount(others, dimension)} to others",
        nothing=given <= 0,
    )


STEPS = {
    1: "It is bound",
    2: "The request can ever fit",
    3: "A free slot under its cap",
    4: "Enough tokens in its bucket",
    5: "KV cache under its cap",
    6: "Within its reserve",
    7: "Room in the pool beside what is held back",
    8: "The pool is not contended",
    9: "Under its present limit",
}
VERDICTS = {"holds": "passes", "open": "does not decide", "refused": "refused here", "admitted": "let in here"}
POOL_STEPS = (7, 8)
"""Steps whose numbers are the pool's: a tenant reads their outcome only."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of the admission."""

    number: int
    title: str
    verdict: str
    words: str
    checks: list[str]


def step_rows(told: AdmissionStory, *, platform: bool) -> list[StepRow]:
    """The steps that were taken; the pool's own numbers for operators only."""
    return [
        StepRow(
            step.number,
            STEPS[step.number],
            step.verdict,
            VERDICTS[step.verdict],
            [_check(step, check) for check in step.checks] if platform or step.number not in POOL_STEPS else [],
        )
        for step in told.steps
    ]


def _check(step: Step, check: Check) -> str:
    value, bound = (numbers.kv(v) if check.dimension == 2 else numbers.si(v) for v in (check.value, check.bound))
    unit = {1: " tokens", 2: "", 3: " slots"}[check.dimension]
    joined = "≤" if check.holds else ">"
    if step.number == 4:
        return f"needs {value} {joined} has {bound}{unit}"
    if step.number == 2:
        return f"asks {value} {joined} at most {bound}{unit}"
    return f"use would be {value} {joined} {bound}{unit}"


def admission_sentence(told: AdmissionStory | None, ask: Ask | None) -> str:
    """What a usual request would meet now, and what binds."""
    if told is None or ask is None:
        return "The counters do not know this entitlement yet, so nothing is let in."
    size = f"A usual request ({numbers.si(ask.tokens, 'tokens')}, {numbers.kv(ask.kv_bytes)})"
    if told.admitted:
        reasons = {6: "it is within the reserve", 8: "the pool is not contended", 9: "it stays under its limit"}
        room = f", making room by stopping {told.victims} preemptible" if told.victims else ""
        return f"{size} would be let in now: {reasons[told.steps[-1].number]}{room}."
    rule = REFUSAL_RULES[Refusal(told.code)]
    return f"{size} would be refused now ({rule.label}). {rule.sentence}"


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One what-if. ``tokens`` and ``slots`` are limits, before → after; empty where they stay."""

    text: str
    weight: str
    tokens: str
    slots: str
    better: int


def change_rows(made: Sequence[WhatIf], weight: WeightStory | None) -> list[ChangeRow]:
    """What would change it, those that change something first."""
    rows = [(not one.moves, index, _change(one, weight)) for index, one in enumerate(made)]
    return [row for _, _, row in sorted(rows, key=lambda item: item[:2])]


def _change(one: WhatIf, weight: WeightStory | None) -> ChangeRow:
    slo = numbers.milliseconds(weight.slo_ms) if weight is not None else ""
    text = {
        "slo": f"With a latency target of {numbers.milliseconds(one.value)} (now {slo})",
        "calm": "Once its burst is forgotten",
        "repaid": "Once its debt is back at zero",
        "base": "With a baseline a quarter larger, and the cap with it",
        "cap": "With a cap half as high again",
        "demand_up": "If it asked for half as much again",
        "demand_down": "If it asked for half as much",
        "replica": f"With one more replica ready ({one.value:.0f})",
    }[one.kind]
    moved = abs(one.weight_ratio - 1) > 0.005
    return ChangeRow(
        text=text,
        weight=f"{plain(one.weight_ratio)}{TIMES}" if moved else "",
        tokens=_arrow(one, 0),
        slots=_arrow(one, 2),
        better=_direction(one),
    )


def _arrow(one: WhatIf, dimension: int) -> str:
    before, after = one.before[dimension], one.after[dimension]
    if abs(after - before) <= 0.005 * max(1.0, before):
        return ""
    return f"{numbers.si(before)} → {numbers.amount(after, dimension)}"


def _direction(one: WhatIf) -> int:
    gains = [after - before for before, after in zip(one.before, one.after, strict=True)]
    if max(gains) > 0 and min(gains) >= -1e-9:
        return 1
    return -1 if min(gains) < 0 else 0
