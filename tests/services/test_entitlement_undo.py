"""The last deed on an entitlement is taken back; anything in between is protected."""

from __future__ import annotations

from datetime import datetime

import pytest

from pools.mechanism.amounts import Rate
from pools.models import Entitlement
from pools.services.binding import binding_reconcile
from pools.services.entitlement_undo import entitlement_move_back, entitlement_undo, last_deed
from pools.services.entitlements import (
    entitlement_change,
    entitlement_create,
    entitlement_expire,
    entitlement_move,
    entitlement_resume,
    entitlement_suspend,
)
from pools.services.lease_check import lease_check, lease_checks
from portal.lib.errors import DomainError
from tests.cast import NOW, OLGA, World, later, pool_make, promise, slots, tenant_make, tier_make, world_make


@pytest.fixture
def world() -> World:
    return world_make()


def undo(row: Entitlement, record_id: int | None = None) -> Entitlement:
    record = last_deed(row.pk)
    assert record is not None
    made = entitlement_undo(actor=OLGA, now=later(9), entitlement_id=row.pk, record_id=record_id or record.pk)
    row.refresh_from_db()
    return made


def change(row: Entitlement, **changes: object) -> None:
    entitlement_change(actor=OLGA, now=later(3), entitlement_id=row.pk, changes=changes, reason="more")


def test_changed_terms_come_back_and_can_be_changed_forth_again(world: World) -> None:
    gold = tier_make("elastic", "gold")
    change(world.eve, base_concurrency=7, tier=gold, valid_until=later(86_400))
    undo(world.eve)
    assert (world.eve.base_concurrency, world.eve.tier.slug, world.eve.valid_until) == (5, "elastic", None)
    undo(world.eve)
    assert (world.eve.base_concurrency, world.eve.tier.slug, world.eve.valid_until) == (7, "gold", later(86_400))


def test_suspend_and_resume_are_each_others_undo(world: World) -> None:
    entitlement_suspend(actor=OLGA, now=later(3), entitlement_id=world.eve.pk)
    undo(world.eve)
    assert world.eve.state == "pending"
    entitlement_suspend(actor=OLGA, now=later(3), entitlement_id=world.eve.pk)
    entitlement_resume(actor=OLGA, now=later(4), entitlement_id=world.eve.pk)
    undo(world.eve)
    assert world.eve.state == "suspended"


def test_a_new_one_is_ended(world: World) -> None:
    made = entitlement_create(
        actor=OLGA, now=NOW, tenant=tenant_make("carol"), pool=world.pool, tier=world.eve.tier, base=slots(1)
    ).entitlement
    undo(made)
    assert made.state == "expired"


def test_only_the_last_deed_and_only_while_nobody_moved_it(world: World) -> None:
    change(world.eve, base_concurrency=7)
    first = last_deed(world.eve.pk)
    change(world.eve, base_concurrency=8)
    assert first is not None
    with pytest.raises(DomainError, match="undo that first"):
        undo(world.eve, first.pk)
    Entitlement.objects.filter(pk=world.eve.pk).update(base_concurrency=9)
    with pytest.raises(DomainError, match="base_concurrency moved on"):
        undo(world.eve)
    world.eve.refresh_from_db()
    assert world.eve.base_concurrency == 9


def test_what_has_ended_stays_ended(world: World) -> None:
    change(world.eve, base_concurrency=7)
    entitlement_expire(actor=OLGA, now=later(5), entitlement_id=world.eve.pk)
    with pytest.raises(DomainError, match="expired"):
        undo(world.eve)


def test_the_beginning_moves_only_as_long_as_it_has_not_come(world: World) -> None:
    with pytest.raises(DomainError) as refused:
        change(world.eve, valid_from=later(100))
    assert set(refused.value.fields) == {"valid_from"}
    carol = tenant_make("carol")
    made = entitlement_create(
        actor=OLGA, now=NOW, tenant=carol, pool=world.pool, tier=world.eve.tier, base=slots(1), valid_from=later(500)
    ).entitlement
    change(made, valid_from=later(900))
    made.refresh_from_db()
    assert made.valid_from == later(900)


def test_addresses_of_pages_are_no_slugs(world: World) -> None:
    for slug in ("new", "jobs", "bulk"):
        with pytest.raises(DomainError) as refused:
            entitlement_create(
                actor=OLGA, now=NOW, tenant=tenant_make(f"t-{slug}"), pool=world.pool, tier=world.eve.tier, slug=slug
            )
        assert set(refused.value.fields) == {"slug"}


def test_the_check_has_the_numbers_of_each_dimension(world: World) -> None:
    row = Entitlement.objects.select_related("tier__current", "pool__current_profile").get(pk=world.eve.pk)
    row.base_concurrency = 20
    check = lease_check(row, NOW)
    tokens, kv, seats = check.lines
    assert (seats.asked, seats.others, seats.ready, seats.most) == (20, 6, 16, 64)
    assert (seats.short_now, seats.free_after) == (10, -10) and check.short == [(2, 10)]
    assert check.verdict == "after_scaling" and check.most_replicas == 4 and check.ready_replicas == 1
    assert tokens.short_now == kv.short_now == 0
    assert any("Little" in warning for warning in check.warnings)
    row.base_concurrency = 70
    assert lease_check(row, NOW).short == [(2, 12)]


def test_many_checks_say_what_one_says(world: World) -> None:
    rows = list(Entitlement.objects.select_related("tier__current", "pool__current_profile").order_by("pk"))
    assert lease_checks([(row, row) for row in rows], NOW) == [lease_check(row, NOW) for row in rows]
    bob = rows[-1]
    assert lease_check(bob, NOW).lines == () and lease_check(bob, NOW).verdict == "now"
    bob.base_concurrency = 3
    assert lease_check(bob, NOW).verdict == "refused" and Rate(0, 0, 3).concurrency == 3


def test_a_move_back_checks_everything(world: World) -> None:
    there = pool_make("chat-70b", max_replicas=4)
    window = later(86_400)
    change(world.eve, valid_until=window)
    moved = entitlement_move(actor=OLGA, now=later(5), entitlement_id=world.eve.pk, pool=there).entitlement

    def back(now: datetime | None = None, moved_id: int = moved.pk) -> Entitlement:
        moment = now or later(6)
        return entitlement_move_back(actor=OLGA, now=moment, entitlement_id=world.eve.pk, moved_id=moved_id)

    with pytest.raises(DomainError, match="no such move"):
        back(moved_id=0)
    with pytest.raises(DomainError, match="not ended by that move"):
        back(moved_id=world.alice.pk)
    with pytest.raises(DomainError, match="which is past"):
        back(window)
    taken = promise(world.pool, world.eve.tenant, world.eve.tier, slots(1), slug="again", valid_from=later(7))
    with pytest.raises(DomainError, match="has an entitlement in chat-8b in that time already"):
        back()
    moved.refresh_from_db()
    assert moved.state == "pending", "all or nothing"
    entitlement_expire(actor=OLGA, now=later(6), entitlement_id=taken.pk)
    assert back().state == "pending"
    binding_reconcile(world.pool.pk, later(8))
    world.eve.refresh_from_db()
    assert (world.eve.state, world.eve.valid_until, world.eve.base_concurrency) == ("bound", window, 5)
    with pytest.raises(DomainError, match="lives again already"):
        back()


def test_a_move_back_needs_room(world: World) -> None:
    there = pool_make("chat-70b", max_replicas=4)
    moved = entitlement_move(actor=OLGA, now=later(5), entitlement_id=world.eve.pk, pool=there).entitlement
    promise(world.pool, tenant_make("greedy"), world.eve.tier, slots(58))
    with pytest.raises(DomainError, match="cannot promise this"):
        entitlement_move_back(actor=OLGA, now=later(6), entitlement_id=world.eve.pk, moved_id=moved.pk)
    moved.refresh_from_db()
    assert moved.state == "pending"
