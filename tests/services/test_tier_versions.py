"""Versions begin, end, are called off, watched in shadow, reverted; two edits of one tier meet."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, InternalError, transaction

from pools.models import Tier, TierVersion
from pools.services.tier_drafts import (
    tier_draft_discard,
    tier_draft_of,
    tier_draft_save,
    tier_draft_spent,
    tier_draft_undo,
)
from pools.services.tier_schedule import tier_schedule_cancel, tier_upcoming, tiers_reconcile
from pools.services.tier_shadow import tier_shadow_publish, tier_shadow_start, tier_shadow_stop
from pools.services.tier_terms import TierTerms, changes_between, three_way
from pools.services.tiers import tier_archive, tier_create, tier_publish, tier_revert
from portal.accounts.models import User
from portal.audit.models import AuditRecord
from portal.lib.errors import DomainError
from tests.cast import NOW, OLGA, later, tier_make, world_make


def terms(**changes: object) -> TierTerms:
    return TierTerms.of_class("elastic", **changes)


def number_of(tier: Tier) -> int:
    current = Tier.objects.select_related("current").get(pk=tier.pk).current
    assert current is not None
    return current.number


@pytest.fixture
def tier() -> Tier:
    return tier_make("elastic")


def test_a_planned_change_begins_and_ends_by_itself(tier: Tier) -> None:
    tier_publish(
        actor=OLGA, now=NOW, tier_id=tier.pk, terms=terms(slo_ms=200), starts=later(60), ends=later(120), reason="sale"
    )
    assert number_of(tier) == 1 and [row.number for row in tier_upcoming(tier.pk, NOW)] == [2]
    assert tiers_reconcile(later(59)) == [] and number_of(tier) == 1
    (turn,) = tiers_reconcile(later(60))
    assert (turn.before, turn.after, number_of(tier)) == (1, 2, 2)
    assert tiers_reconcile(later(61)) == [], "twice is once"
    (turn,) = tiers_reconcile(later(120))
    assert (turn.before, turn.after, number_of(tier)) == (2, 1, 1)
    reasons = list(AuditRecord.objects.filter(verb="tier_turn").order_by("pk").values_list("reason", flat=True))
    assert reasons == ["Version 2 begins as planned.", "Version 2 has ended."]


def test_a_change_at_once_with_an_end(tier: Tier) -> None:
    tier_publish(actor=OLGA, now=NOW, tier_id=tier.pk, terms=terms(slo_ms=200), ends=later(30))
    assert number_of(tier) == 2
    tiers_reconcile(later(30))
    assert number_of(tier) == 1


def test_what_is_published_meanwhile_stays_until_the_plan_begins(tier: Tier) -> None:
    tier_publish(actor=OLGA, now=NOW, tier_id=tier.pk, terms=terms(slo_ms=200), starts=later(60), ends=later(90))
    tier_publish(actor=OLGA, now=later(10), tier_id=tier.pk, terms=terms(slo_ms=300), expected_version=1)
    assert number_of(tier) == 3
    tiers_reconcile(later(60))
    assert number_of(tier) == 2
    tiers_reconcile(later(90))
    assert number_of(tier) == 3


def test_a_plan_is_called_off(tier: Tier) -> None:
    tier_publish(actor=OLGA, now=NOW, tier_id=tier.pk, terms=terms(slo_ms=200), starts=later(60), ends=later(90))
    off = tier_schedule_cancel(actor=OLGA, now=later(5), tier_id=tier.pk, number=2, reason="no sale")
    assert off.reverts is not None and off.reverts.number == 2 and tier_upcoming(tier.pk, later(5)) == []
    tiers_reconcile(later(60))
    current = Tier.objects.select_related("current").get(pk=tier.pk).current
    assert current is not None and current.slo_ms == terms().slo_ms
    with pytest.raises(DomainError, match="began already"):
        tier_schedule_cancel(actor=OLGA, now=later(61), tier_id=tier.pk, number=2)


@pytest.mark.parametrize(("starts", "ends", "field"), [(-60, None, "starts"), (60, 30, "ends"), (None, -1, "ends")])
def test_a_window_must_lie_ahead(tier: Tier, starts: int | None, ends: int | None, field: str) -> None:
    with pytest.raises(DomainError) as refused:
        tier_publish(
            actor=OLGA,
            now=NOW,
            tier_id=tier.pk,
            terms=terms(slo_ms=2),
            starts=None if starts is None else later(starts),
            ends=None if ends is None else later(ends),
        )
    assert refused.value.code == "bad_window" and field in refused.value.fields


def test_a_shadow_is_never_in_force_and_can_be_published(tier: Tier) -> None:
    shadow = tier_shadow_start(actor=OLGA, now=NOW, tier_id=tier.pk, terms=terms(slo_ms=50), reason="try")
    assert (shadow.number, shadow.status, number_of(tier)) == (2, "shadow", 1)
    assert tiers_reconcile(later(3600)) == [] and number_of(tier) == 1
    made = tier_shadow_publish(actor=OLGA, now=later(60), tier_id=tier.pk, expected_version=1)
    tier.refresh_from_db()
    assert (made.number, made.slo_ms, number_of(tier), tier.shadow) == (3, 50, 3, None)
    with pytest.raises(DomainError, match="no version in shadow"):
        tier_shadow_publish(actor=OLGA, now=later(61), tier_id=tier.pk)


def test_a_shadow_ends_by_hand_or_by_time(tier: Tier) -> None:
    tier_shadow_start(actor=OLGA, now=NOW, tier_id=tier.pk, terms=terms(slo_ms=50))
    assert tier_shadow_stop(actor=OLGA, now=later(1), tier_id=tier.pk).shadow is None
    tier_shadow_start(actor=OLGA, now=NOW, tier_id=tier.pk, terms=terms(slo_ms=51), lasts=timedelta(seconds=60))
    tier_publish(actor=OLGA, now=later(2), tier_id=tier.pk, terms=terms(slo_ms=9))
    tier.refresh_from_db()
    assert tier.shadow is not None, "another change leaves the shadow to watch"
    tiers_reconcile(later(60))
    tier.refresh_from_db()
    assert tier.shadow is None


def test_revert_is_a_new_version_with_the_old_terms(tier: Tier) -> None:
    tier_publish(actor=OLGA, now=NOW, tier_id=tier.pk, terms=terms(burst_tokens=Decimal(5)), reason="more")
    back = tier_revert(actor=OLGA, now=later(5), tier_id=tier.pk, number=1, expected_version=2)
    assert back.number == 3 and back.reverts is not None and back.reverts.number == 1
    assert TierTerms.of_version(back).canonical() == terms().canonical()
    assert back.reason == "Back to the terms of version 1."
    with pytest.raises(DomainError, match="no version 9"):
        tier_revert(actor=OLGA, now=later(5), tier_id=tier.pk, number=9)


def test_the_second_of_two_edits_is_refused(tier: Tier) -> None:
    tier_publish(actor=OLGA, now=NOW, tier_id=tier.pk, terms=terms(slo_ms=1), expected_version=1)
    with pytest.raises(DomainError, match="your edit began at 1") as refused:
        tier_publish(actor=OLGA, now=NOW, tier_id=tier.pk, terms=terms(slo_ms=2), expected_version=1)
    assert (refused.value.code, refused.value.status) == ("version_moved", 412)


def test_three_way_takes_the_side_that_changed() -> None:
    base, theirs = terms(), terms(slo_ms=5, hold_ms=10, class_weight=3)
    ours = terms(slo_ms=7, default_max_tokens=99, class_weight=3.0)
    fields = {one.name: one for one in three_way(base, theirs, ours)}
    assert {name: one.changed_by for name, one in fields.items()} == {
        "class_weight": "alike",
        "slo_ms": "both",
        "default_max_tokens": "ours",
        "hold_ms": "theirs",
    }
    assert [fields[name].merged for name in ("slo_ms", "default_max_tokens", "hold_ms")] == [7, 99, 10]
    assert changes_between(base, terms(burst_tokens=Decimal("2.000"))) == {}


def test_versions_are_never_altered(tier: Tier) -> None:
    with pytest.raises((InternalError, IntegrityError)), transaction.atomic():
        TierVersion.objects.filter(tier=tier).update(slo_ms=1)


def test_only_an_unused_tier_is_archived() -> None:
    world = world_make()
    with pytest.raises(DomainError, match="1 entitlement lives under elastic"):
        tier_archive(actor=OLGA, now=NOW, tier_id=world.eve.tier_id)
    lonely = tier_make("elastic", "lonely")
    assert tier_archive(actor=OLGA, now=NOW, tier_id=lonely.pk).archived_at == NOW
    with pytest.raises(DomainError, match="is archived"):
        tier_publish(actor=OLGA, now=NOW, tier_id=lonely.pk, terms=terms(slo_ms=4))


def test_drafts_keep_what_was_typed_one_for_each_author(tier: Tier) -> None:
    olga = User.objects.create_user("o@example.org", "a long password")
    typed = {"slo_ms": "not a number", "class_weight": "50"}
    tier_draft_save(user=olga, now=NOW, tier=tier, typed=typed, reason="because", based_on=1)
    tier_draft_save(user=olga, now=later(1), tier=tier, typed={**typed, "slo_ms": "5"}, reason="", based_on=1)
    draft = tier_draft_of(olga, tier)
    assert draft is not None and draft.terms["slo_ms"] == "5" and draft.based_on is not None
    tier_draft_discard(user=olga, now=later(2), tier=tier)
    assert tier_draft_of(olga, tier) is None


def test_the_last_deed_on_a_draft_is_taken_back_and_forth(tier: Tier) -> None:
    olga = User.objects.create_user("o@example.org", "a long password")

    def undo(revision: int) -> int:
        return tier_draft_undo(user=olga, now=later(9), tier=tier, revision=revision).revision

    def says() -> str | None:
        draft = tier_draft_of(olga, tier)
        return draft.terms["slo_ms"] if draft is not None else None

    first = tier_draft_save(user=olga, now=NOW, tier=tier, typed={"slo_ms": "5"}, reason="one", based_on=1)
    back = undo(first.revision)
    assert says() is None, "a first draft is gone again"
    assert undo(back) and says() == "5"
    second = tier_draft_save(user=olga, now=NOW, tier=tier, typed={"slo_ms": "7"}, reason="two", based_on=1)
    undo(second.revision)
    draft = tier_draft_of(olga, tier)
    assert draft is not None and (says(), draft.reason) == ("5", "one"), "what was replaced is there again"
    gone = tier_draft_discard(user=olga, now=NOW, tier=tier)
    assert gone is not None and tier_draft_discard(user=olga, now=NOW, tier=tier) is None
    undo(gone.revision)
    assert says() == "5"
    with pytest.raises(DomainError, match="again since") as refused:
        undo(gone.revision)
    assert refused.value.code == "moved_on"
    tier_draft_spent(olga, tier)
    with pytest.raises(DomainError, match="published again since"):
        undo(gone.revision + 1)


def test_a_page_cannot_be_hidden_by_a_slug() -> None:
    with pytest.raises(DomainError, match="address of a page"):
        tier_create(actor=OLGA, now=NOW, slug="new", name="New", service_class="elastic")
