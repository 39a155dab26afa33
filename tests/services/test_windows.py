"""Promises with windows: what begins later counts from then, what ends earlier no longer, in every check there is."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pools.choices import EntitlementState
from pools.mechanism.windows import moments
from pools.models import Entitlement, Pool, Tier
from pools.services.bulk_actions import action_of
from pools.services.bulk_preview import bulk_preview, selected
from pools.services.entitlements import entitlement_change, entitlement_resume, entitlement_suspend
from pools.services.lease_check import lease_check
from pools.services.pools import pool_change
from pools.services.spans import spans_of
from pools.services.supply import PROMISED_STATES
from portal.accounts.models import Tenant
from portal.lib.errors import DomainError
from tests.cast import NOW, OLGA, World, promise, slots, tenant_make, world_make


@pytest.fixture
def world() -> World:
    """16 slots ready, 64 at most; Alice 6 and Eve 5, open-ended."""
    return world_make()


def day(number: float) -> datetime:
    return NOW + timedelta(days=number)


def give(world: World, name: str, count: int, begins: float, ends: float | None) -> Entitlement:
    until = None if ends is None else day(ends)
    tier = Tier.objects.get(slug="guaranteed")
    return promise(world.pool, tenant_make(name), tier, slots(count), valid_from=day(begins), valid_until=until)


def proposed(world: World, count: int, begins: float, ends: float | None) -> Entitlement:
    base = slots(count).as_tuple()
    return Entitlement(
        slug="proposed",
        tenant=world.bob.tenant,
        pool=Pool.objects.select_related("current_profile").get(),
        tier=Tier.objects.select_related("current").get(slug="guaranteed"),
        base_tokens_per_second=base[0],
        base_kv_bytes=base[1],
        base_concurrency=base[2],
        valid_from=day(begins),
        valid_until=None if ends is None else day(ends),
    )


def test_a_promise_of_later_leaves_the_time_before_it_free(world: World) -> None:
    give(world, "later", 50, 6, None)
    assert give(world, "until", 5, 0, 6).state == "pending"
    with pytest.raises(DomainError, match="from 8 Mar 10:00 UTC on: 3 sequences short") as refused:
        give(world, "beyond", 6, 1, 7)
    assert refused.value.code == "never_fits"
    check = lease_check(proposed(world, 6, 1, 7), NOW)
    assert (check.verdict, check.since, check.short[-1]) == ("never", day(6), (2, 3.0))
    assert check.lines[2].others == 61, "the most that others hold in that time"
    assert lease_check(proposed(world, 48, 0, 6), NOW).since is None, "short at once needs no date"


def test_one_promise_follows_the_other_in_the_same_room(world: World) -> None:
    give(world, "first", 50, 0, 10)
    second = give(world, "second", 50, 10, None)
    with pytest.raises(DomainError, match="from 12 Mar 10:00 UTC on"):
        entitlement_change(
            actor=OLGA,
            now=NOW,
            entitlement_id=Entitlement.objects.get(slug="first-chat-8b").pk,
            changes={"valid_until": day(11)},
        )
    with pytest.raises(DomainError, match="cannot promise this"):
        entitlement_change(actor=OLGA, now=NOW, entitlement_id=second.pk, changes={"valid_from": day(9)})
    assert entitlement_change(actor=OLGA, now=NOW, entitlement_id=second.pk, changes={"valid_from": day(12)})


def test_what_is_bound_stays_bound_when_only_its_future_needs_replicas(world: World) -> None:
    give(world, "later", 20, 6, None)
    changed = entitlement_change(
        actor=OLGA, now=NOW, entitlement_id=world.alice.pk, changes={"base_concurrency": 7, "cap_concurrency": None}
    )
    assert (changed.entitlement.state, changed.fit.verdict) == ("bound", "after_scaling")
    assert "ready replicas from 8 Mar 10:00 UTC on" in changed.fit.sentence
    changed = entitlement_change(actor=OLGA, now=NOW, entitlement_id=world.alice.pk, changes={"base_concurrency": 12})
    assert changed.entitlement.state == "pending", "now it does not fit what is ready"


def test_suspended_promises_hold_nothing_and_resume_into_what_is_free(world: World) -> None:
    row = give(world, "first", 50, 0, 10)
    entitlement_suspend(actor=OLGA, now=NOW, entitlement_id=row.pk)
    give(world, "second", 50, 5, None)
    with pytest.raises(DomainError, match="from 7 Mar 10:00 UTC on"):
        entitlement_resume(actor=OLGA, now=NOW, entitlement_id=row.pk)


def test_a_pool_may_not_shrink_below_what_it_promised_for_later(world: World) -> None:
    give(world, "later", 40, 6, 9)
    give(world, "latest", 40, 9, None)
    assert pool_change(actor=OLGA, now=NOW, pool_id=world.pool.pk, changes={"alpha_debt": 2.0}).record is not None
    with pytest.raises(DomainError, match="3 sequences short from 8 Mar 10:00 UTC on"):
        pool_change(actor=OLGA, now=NOW, pool_id=world.pool.pk, changes={"max_replicas": 3})
    pool_change(actor=OLGA, now=day(10), pool_id=world.pool.pk, changes={"max_replicas": 4})


def test_a_bulk_edit_is_measured_at_the_worst_moment(world: World) -> None:
    rows = selected([give(world, "first", 25, 0, 10).pk, give(world, "second", 25, 10, None).pk])
    fine = bulk_preview(action_of("scale", {"factor": "2"}), rows, NOW)
    assert [one.fit.verdict for one in fine.pools] == ["after_scaling"]
    meet = bulk_preview(action_of("end", {"until": ""}), rows, NOW)
    assert [(one.fit.verdict, one.fit.since) for one in meet.pools] == [("after_scaling", NOW)]
    scaled = bulk_preview(action_of("scale", {"factor": "2.2"}), rows, NOW)
    assert [(one.fit.verdict, one.fit.since) for one in scaled.pools] == [("never", NOW)]


def test_an_overdue_promise_counts_no_more(world: World) -> None:
    give(world, "over", 50, 0, 1)
    assert lease_check(proposed(world, 50, 2, None), day(2)).verdict == "after_scaling"


def test_a_check_asks_two_queries_and_a_crowd_is_a_few_rows(world: World) -> None:
    Pool.objects.update(max_replicas=1000)
    for number in range(30):
        give(world, f"open-{number}", 1, 0, None)
        give(world, f"ends-{number}", 1, 0, 100 + number)
    give(world, "later", 1, 50, 60)
    row = proposed(world, 3, 1, None)
    with CaptureQueriesContext(connection) as seen:
        lease_check(row, NOW)
    assert len(seen) == 2
    assert len(spans_of([world.pool.pk], NOW)[world.pool.pk]) == 3, "reserved and elastic now, and the later one"
    assert len(spans_of([world.pool.pk], NOW, asked=day(110))[world.pool.pk]) == 14, "ends before it matter then"


def truth(pool: Pool, at: datetime) -> tuple[int, int]:
    """Reserved and elastic slots promised at a moment, row by row."""
    found = [0, 0]
    for row in Entitlement.objects.filter(pool=pool, state__in=PROMISED_STATES).select_related("tier"):
        if row.valid_from <= at and (row.valid_until is None or at < row.valid_until):
            if row.tier.service_class in ("dedicated", "guaranteed"):
                found[0] += row.base_concurrency
            elif row.tier.service_class == "elastic":
                found[1] += row.base_concurrency
    return found[0], found[1]


Row = tuple[str, int, int | None, int, str]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["guaranteed", "elastic", "spot"]),
        st.integers(-5, 12),
        st.one_of(st.none(), st.integers(1, 15)),
        st.integers(0, 9),
        st.sampled_from([one.value for one in EntitlementState]),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, begins=st.integers(0, 16))
def test_what_is_promised_at_each_moment_is_what_the_rows_say(world: World, rows: list[Row], begins: int) -> None:
    Entitlement.objects.filter(slug__startswith="drawn-").delete()
    tiers = {tier.slug: tier for tier in Tier.objects.all()}
    tenants = [Tenant.objects.filter(slug=f"t-{n}").first() or tenant_make(f"t-{n}") for n in range(len(rows))]
    Entitlement.objects.bulk_create(
        Entitlement(
            slug=f"drawn-{number}",
            tenant=tenants[number],
            pool=world.pool,
            tier=tiers[kind],
            base_concurrency=count,
            valid_from=day(starts),
            valid_until=None if lasts is None else day(starts + lasts),
            state=state,
        )
        for number, (kind, starts, lasts, count, state) in enumerate(rows)
    )
    spans = spans_of([world.pool.pk], NOW, asked=day(begins))[world.pool.pk]
    for one in moments(spans, day(begins)):
        kept, elastic = one.promised.reserved.concurrency, one.promised.elastic.concurrency
        assert (kept, elastic) == truth(world.pool, one.at), one.at
