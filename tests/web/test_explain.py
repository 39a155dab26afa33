"""Explanations as pages: the formula with its numbers for operators and auditors, a tenant's own without the pool's."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from pools.counters.types import Ask
from pools.mechanism.explain import DebtStory
from pools.mechanism.explain_admission import admission_story
from pools.mechanism.what_if import WhatIf
from pools.services.store import counters
from portal.accounts.models import User
from portal.dashboards import explain_words as words
from tests.cast import KV_TOKEN
from tests.mechanism.test_admission import ASK, MINE, NOW, POOL, TERMS
from tests.portal_cast import tick_kept
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


@pytest.fixture
def ticked(everybody: Everybody) -> Everybody:
    """Two of Eve's requests run; one tick is on record."""
    for number in range(2):
        row = everybody.world.eve
        counters().reserve(Ask(row.pool_id, row.pk, f"r{number}", 128, 128 * KV_TOKEN))
    tick_kept(everybody.world.pool)
    return everybody


def test_the_formula_stands_there_with_its_numbers(ticked: Everybody, as_: As) -> None:
    answer = as_(ticked.ada).get("/entitlements/eve-chat-8b/explain/")
    text = answer.content.decode()
    told = answer.context["told"].weight
    assert told.weight == pytest.approx(told.class_weight / told.slo_term / told.burst_term * told.debt_term)
    assert [term.name for term in answer.context["terms"]] == ["class weight", "latency target", "burst", "debt"]
    for title in (
        "Limits, stage by stage",
        "Elastic baselines",
        "A usual request, step by step",
        "What would change it",
    ):
        assert title in text
    assert "would be let in now" in text and "one of 3 bound in the pool" in text
    assert "left, " in text, "operators see the pool's side of each stage"


def test_a_tenant_reads_its_own_and_nothing_of_the_pool(ticked: Everybody, as_: As) -> None:
    answer = as_(ticked.eda).get("/t/eve/explain/?pool=chat-8b")
    text = answer.content.decode()
    assert "Limits, stage by stage" in text
    assert "left, " not in text and "bound in the pool" not in text
    assert "Alice" not in text and "Bob" not in text
    steps = {step.number: step for step in answer.context["steps"]}
    assert all(not steps[number].checks for number in (7, 8) if number in steps)
    assert steps[3].checks
    assert as_(ticked.olga).get("/t/eve/explain/").context["platform"] is True


def test_another_tenant_and_unknown_pools_are_404(ticked: Everybody, as_: As) -> None:
    assert as_(ticked.alan).get("/t/eve/explain/").status_code == 404
    assert as_(ticked.eda).get("/t/eve/explain/?pool=none").status_code == 404
    assert as_(ticked.olga).get("/entitlements/none/explain/").status_code == 404
    assert as_(ticked.eda).get("/entitlements/eve-chat-8b/explain/").status_code == 403


def test_fetched_by_a_page_it_is_the_panel_alone(ticked: Everybody, as_: As) -> None:
    text = as_(ticked.olga).get("/entitlements/eve-chat-8b/explain/", HTTP_HX_REQUEST="true").content.decode()
    assert "<html" not in text and 'id="explain"' in text and "Open as a page" in text


def test_before_the_first_tick_it_says_so(everybody: Everybody, as_: As) -> None:
    text = as_(everybody.olga).get("/entitlements/eve-chat-8b/explain/").content.decode()
    assert "nothing to explain yet" in text


def test_a_suspended_one_is_told_why_it_has_no_limit(ticked: Everybody, as_: As) -> None:
    row = ticked.world.bob
    row.state, row.state_reason = "suspended", "Unpaid bill."
    row.save(update_fields=["state", "state_reason"])
    from pools.services.configuring import counters_configure
    from portal.lib.clock import now

    counters_configure(row.pool_id, now())
    tick_kept(ticked.world.pool)
    text = as_(ticked.olga).get(f"/entitlements/{row.slug}/explain/").content.decode()
    assert "takes no part in the fill" in text and "Unpaid bill." in text and "refused here" in text


DEBT = DebtStory(
    applies=True, base=75.0, demand=120.0, served=56.25, patient=True, gap=0.25, window_s=5.0, tau_s=14.0, kept=0.7,
    before=0.1, debt=0.145, excess=0.1, burst_kept=0.7, burst_before=0.02, burst=0.044,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "name", "formula", "sentence"),
    [
        ({}, "gap", "(min(baseline 75, demand 120) − served 56.2) ÷ 75 = 0.25", "Served below its promise"),
        ({}, "debt", "0.7 × 0.1 + 0.3 × 0.25 = 0.145", "halves every 9.7 s"),
        ({}, "burst", "0.7 × 0.02 + 0.3 × 0.1 = 0.044", "averaged over time"),
        ({"patient": False, "gap": 0.0}, "gap", "= 0.25", "by its own choice"),
        ({"served": 150.0, "gap": -1.0}, "gap", "= −1", "above its promise"),
        ({"served": 300.0, "gap": -1.0}, "gap", "= −3", "Cut to the range"),
        ({"demand": 0.0, "served": 0.0, "gap": 0.0}, "gap", "= 0", "asked for nothing"),
    ],
)
def test_debts_in_words(change: dict[str, Any], name: str, formula: str, sentence: str) -> None:
    lines = {line[0]: line for line in words.debt_lines(replace(DEBT, **change))}
    assert formula in lines[name][1]
    assert sentence in lines[name][2]


def test_who_has_no_debt_is_told_of_burst_only() -> None:
    assert [line[0] for line in words.debt_lines(replace(DEBT, applies=False))] == ["burst"]


def test_steps_and_changes_in_words() -> None:
    refused = admission_story(replace(POOL, use_seats=15), replace(MINE, use_seats=4), TERMS, ASK, NOW)
    assert "would be refused now (low priority)" in words.admission_sentence(refused, ASK)
    rows = words.step_rows(refused, platform=True)
    assert (rows[-1].number, rows[-1].words) == (9, "refused here")
    assert "use would be 5 > 4 slots" in rows[-1].checks
    assert words.step_rows(refused, platform=False)[-2].checks == []
    same, more = (10.0, 0.0, 2.0), (12.0, 0.0, 3.0)
    changes = words.change_rows([WhatIf("cap", 1.5, 1.0, same, same), WhatIf("replica", 3, 1.0, same, more)], None)
    assert [re.sub(r"\s", " ", row.slots) for row in changes] == ["2 → 3 slots", ""]
    assert "one more replica ready (3)" in changes[0].text


NUMBERS = [(0, "0"), (1000, "1,000"), (333.333, "333"), (0.0312, "0.031"), (-0.25, "−0.25"), (1e-5, "0.000")]


@pytest.mark.parametrize(("value", "text"), NUMBERS)
def test_plain_numbers(value: float, text: str) -> None:
    assert words.plain(value) == text
