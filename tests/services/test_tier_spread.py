"""Terms on their way to the pools: at once where they are few, soon where they are many, in the end always."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from redis import ConnectionError as StoreAway

from pools import tasks
from pools.counters.keys import key_document
from pools.models import Tier
from pools.services import tier_spread
from pools.services.keys import key_create
from pools.services.store import counters
from pools.services.tier_spread import SPREAD_LOCK, tiers_spread
from pools.services.tier_terms import TierTerms
from pools.services.tiers import tier_publish
from portal.accounts.models import ApiKey
from portal.lib import hot as store
from tests.cast import NOW, OLGA, World, world_make

pytestmark = pytest.mark.usefixtures("commits")


@pytest.fixture
def world() -> World:
    made = world_make()
    tiers_spread(NOW)
    return made


def publish(world: World, **changes: Any) -> None:
    terms = TierTerms.of_class("elastic", **changes)
    tier_publish(actor=OLGA, now=NOW, tier_id=world.eve.tier_id, terms=terms)


def cap(world: World) -> int:
    """Eve's slots at most, as the counters have it."""
    found = counters().snapshot(world.pool.pk)
    return int(found.column("cap_seats")[found.entitlement_ids.tolist().index(world.eve.pk)])


def behind() -> list[str]:
    return [tier.slug for tier in Tier.objects.all() if tier.spread_id != tier.current_id]


def test_few_are_reached_at_once(world: World) -> None:
    publish(world, burst_concurrency=Decimal(3))
    assert cap(world) == 15 and behind() == []


def test_many_are_reached_by_the_next_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tier_spread, "MOST_AT_ONCE", 0)
    publish(world, burst_concurrency=Decimal(3))
    assert cap(world) == 10 and behind() == ["elastic"]
    tasks.tiers()
    assert cap(world) == 15 and behind() == []
    assert tiers_spread(NOW) == 0, "done"


def test_what_the_store_could_not_take_is_repaired(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise StoreAway("refused")

    monkeypatch.setattr(tier_spread, "MOST_AT_ONCE", 0)
    publish(world, burst_concurrency=Decimal(3))
    with monkeypatch.context() as patch:
        patch.setattr(tier_spread, "counters", away)
        tasks.tiers()
        with pytest.raises(StoreAway):
            tiers_spread(NOW)
    assert behind() == ["elastic"]
    tasks.tiers()
    assert cap(world) == 15 and behind() == []


def test_documents_of_keys_are_written_only_for_what_they_say(world: World) -> None:
    key_create(actor=OLGA, now=NOW, tenant=world.eve.tenant, name="k")
    digest = ApiKey.objects.get(tenant=world.eve.tenant).digest
    store.hot().set(key_document(digest), b"old")
    publish(world, burst_concurrency=Decimal(3))
    assert store.hot().get(key_document(digest)) == b"old"
    publish(world, hold_ms=77)
    assert b'"hold_ms":77' in (store.hot().get(key_document(digest)) or b"")


@pytest.mark.django_db(transaction=True)
def test_two_never_spread_one_tier(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tier_spread, "MOST_AT_ONCE", 0)
    publish(world, burst_concurrency=Decimal(3))
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [SPREAD_LOCK, world.eve.tier_id])
            tiers_spread(NOW)
            assert cap(world) == 10 and behind() == ["elastic"], "left to the one who does it"
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [SPREAD_LOCK, world.eve.tier_id])
    finally:
        other.close()
    tiers_spread(NOW)
    assert cap(world) == 15
