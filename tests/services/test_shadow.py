"""Shadows judged on what really came: counted by minute, twice, never enforced; planned terms turn by a beat."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing import tasks as billing_tasks
from billing.services.shadow import shadows_evaluate
from pools import tasks
from pools.models import Entitlement, ShadowMinute, ShadowRun, Tier
from pools.services import shadow_runs
from pools.services.tier_shadow import tier_shadow_resume, tier_shadow_start, tier_shadow_stop
from pools.services.tier_terms import TierTerms
from pools.services.tiers import tier_publish
from portal.audit.models import AuditRecord
from portal.lib import clock
from portal.lib.hot import hot
from tests.cast import NOW, OLGA, World, later, world_make
from tests.facts import came, sampled

NARROW = {"burst_concurrency": Decimal(1)}
"""Eve may run 5 at once instead of 10."""


@pytest.fixture
def world() -> World:
    return world_make()


def shadow(world: World, at: datetime = NOW, **changes: Any) -> int:
    """Eve's tier gets a version in shadow; its id."""
    terms = TierTerms.of_class("elastic", **changes)
    return tier_shadow_start(actor=OLGA, now=at, tier_id=world.eve.tier_id, terms=terms).pk


def counts(version_id: int) -> list[tuple[int, int, dict[str, int]]]:
    """(asked, refused by the terms in force, refused in shadow) of each minute."""
    rows = ShadowMinute.objects.filter(version_id=version_id).order_by("at", "entitlement")
    return list(rows.values_list("asked", "refused_now", "refused"))


def begun(world: World, **changes: Any) -> int:
    """A shadow that has its first minute, 10:01, behind it."""
    version_id = shadow(world, later(30), **changes)
    shadows_evaluate(later(31))
    assert ShadowRun.objects.get().since == later(60)
    return version_id


def test_what_a_lower_ceiling_would_have_refused(world: World) -> None:
    version_id = begun(world, **NARROW)
    for second in range(8):
        came(world.eve, later(70 + second))
        came(world.alice, later(70 + second))
    sampled(world.eve, later(75))
    assert shadows_evaluate(later(134)) == 0, "its usage may still be on its way"
    assert shadows_evaluate(later(136)) == 1
    assert counts(version_id) == [(8, 0, {"concurrency": 3})]
    assert ShadowMinute.objects.get().entitlement_id == world.eve.pk, "Alice's tier has no shadow"


def test_twice_is_once_and_what_ran_long_is_counted_later(world: World) -> None:
    version_id = begun(world, **NARROW)
    for second in range(6):
        came(world.eve, later(70 + second), runs_s=20)
    shadows_evaluate(later(140))
    shadows_evaluate(later(141))
    assert counts(version_id) == [(6, 0, {"concurrency": 1})]
    came(world.eve, later(69), runs_s=400)
    assert shadows_evaluate(later(140)) == 0
    shadows_evaluate(later(120 + 600))
    assert counts(version_id)[0] == (7, 0, {"concurrency": 2})


def test_real_refusals_are_judged_where_the_bound_is_looser(world: World) -> None:
    wider = begun(world, burst_concurrency=Decimal(4))
    sampled(world.eve, later(70), {"concurrency": 3, "token_budget": 2})
    sampled(world.eve, later(75), {"pool_full": 120})
    shadows_evaluate(later(140))
    ((asked, now, refused),) = counts(wider)
    assert (asked, now, refused) == (125, 125, {"token_budget": 2, "pool_full": 120})


def test_equal_terms_answer_as_was_answered(world: World) -> None:
    same = begun(world, price_input_micro=5)
    for second in range(8):
        came(world.eve, later(70 + second))
    sampled(world.eve, later(75), {"concurrency": 3, "low_priority": 1}, contended=True)
    shadows_evaluate(later(140))
    assert counts(same) == [(12, 4, {"concurrency": 3, "low_priority": 1})]


def test_less_weight_is_felt_when_the_pool_is_contended(world: World) -> None:
    light = begun(world, class_weight=0.01, burst_tokens=Decimal(1), burst_kv=Decimal(1), **NARROW)
    for second in range(5):
        came(world.eve, later(70 + second), runs_s=30)
    for row in (world.alice, world.eve, world.bob):
        sampled(row, later(75), contended=True)
    shadows_evaluate(later(140))
    ((asked, now, refused),) = counts(light)
    assert (asked, now) == (5, 0) and set(refused) <= {"low_priority", "concurrency", "token_budget"}


def test_without_samples_the_ceilings_alone_bind(world: World) -> None:
    version_id = begun(world, **NARROW)
    for second in range(7):
        came(world.eve, later(70 + second))
    shadows_evaluate(later(140))
    assert counts(version_id) == [(7, 0, {"concurrency": 2})]


def test_it_changes_nothing_but_its_counts(world: World) -> None:
    begun(world, **NARROW)
    came(world.eve, later(70))
    sampled(world.eve, later(75))

    def seen() -> tuple[Any, ...]:
        keys = sorted(hot().keys("*"))
        stored = [hot().dump(key) for key in keys]
        return keys, stored, AuditRecord.objects.count(), Tier.objects.get(slug="elastic").current_id

    before = seen()
    assert shadows_evaluate(later(140)) == 1
    assert seen() == before


def test_a_shadow_that_stops_is_judged_to_its_end_and_may_go_on(world: World) -> None:
    version_id = begun(world, **NARROW)
    for second in (70, 190, 400):
        came(world.eve, later(second))
    tier_shadow_stop(actor=OLGA, now=later(200), tier_id=world.eve.tier_id)
    shadows_evaluate(later(201))
    shadows_evaluate(later(1200))
    assert ShadowRun.objects.get().ended_at == later(201)
    assert len(counts(version_id)) == 1, "only whole minutes in which it watched"
    assert shadow_runs.shadow_runs_open(later(1201)) == [], "done"
    tier_shadow_resume(actor=OLGA, now=later(1300), tier_id=world.eve.tier_id, number=2)
    shadows_evaluate(later(1301))
    came(world.eve, later(1330))
    shadows_evaluate(later(1460))
    assert ShadowRun.objects.get().ended_at is None and len(counts(version_id)) == 2


def test_a_long_absence_is_made_up_in_bounded_steps(world: World) -> None:
    version_id = begun(world, **NARROW)
    came(world.eve, later(70))
    came(world.eve, later(9 * 3600))
    late = later(10 * 3600)
    (first, second) = shadow_runs.shadow_windows(ShadowRun.objects.select_related("version__tier").get(), late)
    for window in (first, second):
        assert window.end - window.start == shadow_runs.LONGEST_WINDOW
        assert window.start == late - shadow_runs.LONGEST_BACKLOG
    for _ in range(20):
        shadows_evaluate(late)
    assert [row.at for row in ShadowMinute.objects.filter(version_id=version_id)] == [later(9 * 3600)]


def test_old_counts_are_forgotten(world: World) -> None:
    version_id = begun(world, **NARROW)
    came(world.eve, later(70))
    shadows_evaluate(later(140))
    assert shadow_runs.shadow_forget(later(140)) == 0 and counts(version_id)
    assert shadow_runs.shadow_forget(NOW + timedelta(days=60)) == 1 and not counts(version_id)


def test_a_tier_nobody_lives_under_and_a_pool_without_profile(world: World) -> None:
    begun(world, **NARROW)
    Entitlement.objects.filter(pk=world.eve.pk).update(state="expired")
    came(world.eve, later(70))
    assert shadows_evaluate(later(140)) == 0
    assert ShadowRun.objects.get().judged_until == later(120), "judged: nobody to judge"


def test_the_beats_turn_terms_and_judge_shadows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = TierTerms.of_class("elastic", slo_ms=77)
    tier_publish(actor=OLGA, now=NOW, tier_id=world.eve.tier_id, terms=terms, starts=later(60), ends=later(120))
    for second, number in ((59, 1), (60, 2), (121, 1)):
        monkeypatch.setattr(clock, "now", lambda second=second: later(second))
        tasks.tiers()
        current = Tier.objects.select_related("current").get(pk=world.eve.tier_id).current
        assert current is not None and current.number == number
    shadow(world, later(121))
    billing_tasks.shadow()
    assert ShadowRun.objects.count() == 1
