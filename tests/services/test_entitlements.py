"""Promises: what is refused, what waits, what may not be done twice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from pools.choices import EntitlementState
from pools.mechanism.amounts import Rate
from pools.models import Entitlement, TierVersion
from pools.services.entitlements import (
    entitlement_change,
    entitlement_create,
    entitlement_expire,
    entitlement_resume,
    entitlement_suspend,
)
from portal.audit.models import AuditRecord
from portal.lib.errors import DomainError
from portal.lib.scope import tenant_scope
from tests.cast import NOW, OLGA, later, leftover, pool_make, promise, replica_ready, slots, tenant_make, tier_make


def test_more_than_all_replicas_could_carry_is_refused_with_the_numbers() -> None:
    pool = pool_make(max_replicas=2)
    with pytest.raises(DomainError) as refused:
        promise(pool, tenant_make("alice"), tier_make("guaranteed"), slots(33))
    assert refused.value.code == "never_fits"
    assert "1 sequences short" in refused.value.sentence
    assert not Entitlement.objects.exists()


def test_what_fits_after_scaling_waits() -> None:
    pool = pool_make(max_replicas=2)
    made = entitlement_create(
        actor=OLGA, now=NOW, tenant=tenant_make("alice"), pool=pool, tier=tier_make("guaranteed"), base=slots(20)
    )
    assert made.entitlement.state == EntitlementState.PENDING
    assert made.fit.replicas_needed == 2


def test_promises_of_two_tenants_are_added_up() -> None:
    pool = pool_make(max_replicas=2)
    tier = tier_make("guaranteed")
    promise(pool, tenant_make("alice"), tier, slots(20))
    with pytest.raises(DomainError, match="8 sequences short"):
        promise(pool, tenant_make("carol"), tier, slots(20))


def test_a_guaranteed_entitlement_without_a_baseline_is_refused_field_by_field() -> None:
    with pytest.raises(DomainError) as refused:
        promise(pool_make(), tenant_make("alice"), tier_make("guaranteed"), Rate(10, 0, 0))
    assert set(refused.value.fields) == {"base_kv_bytes", "base_concurrency"}


def test_spot_needs_a_cap_and_no_baseline() -> None:
    with pytest.raises(DomainError) as refused:
        promise(pool_make(), tenant_make("bob"), tier_make("spot"), Rate(0, 0, 0))
    assert "cap" in refused.value.fields


def test_one_tenant_has_one_entitlement_in_a_pool_at_a_time() -> None:
    pool, alice, tier = pool_make(), tenant_make("alice"), tier_make("elastic")
    promise(pool, alice, tier, slots(2), valid_until=later(3600))
    with pytest.raises(DomainError) as refused:
        promise(pool, alice, tier, slots(2), slug="alice-again", valid_from=later(1800))
    assert refused.value.code == "window_overlaps"
    after = promise(pool, alice, tier, slots(2), slug="alice-later", valid_from=later(3600))
    assert after.state == EntitlementState.PENDING


def test_the_database_itself_refuses_overlapping_windows() -> None:
    pool, alice, tier = pool_make(), tenant_make("alice"), tier_make("elastic")
    promise(pool, alice, tier, slots(2))
    with pytest.raises(IntegrityError, match="entitlement_one_per_tenant_and_pool"), transaction.atomic():
        Entitlement.objects.create(slug="second", tenant=alice, pool=pool, tier=tier, valid_from=later(60))


def test_a_larger_promise_is_checked_like_a_new_one() -> None:
    pool = pool_make(max_replicas=2)
    row = promise(pool, tenant_make("alice"), tier_make("guaranteed"), slots(4))
    with pytest.raises(DomainError, match=r"never fit|does not fit"):
        entitlement_change(actor=OLGA, now=NOW, entitlement_id=row.pk, changes=_amounts(40))
    row.refresh_from_db()
    assert row.base_concurrency == 4
    entitlement_change(actor=OLGA, now=NOW, entitlement_id=row.pk, changes=_amounts(30), reason="launch")
    row.refresh_from_db()
    assert (row.base_concurrency, row.revision) == (30, 2)
    record = AuditRecord.objects.latest("pk")
    assert (record.verb, record.reason, record.before["base_concurrency"]) == ("entitlement_change", "launch", 4)


def test_the_same_terms_again_change_nothing() -> None:
    row = promise(pool_make(), tenant_make("alice"), tier_make("guaranteed"), slots(4))
    records = AuditRecord.objects.count()
    entitlement_change(actor=OLGA, now=NOW, entitlement_id=row.pk, changes=_amounts(4))
    assert AuditRecord.objects.count() == records


def test_suspended_resumed_expired() -> None:
    pool = pool_make()
    replica_ready(pool)
    row = promise(pool, tenant_make("alice"), tier_make("guaranteed"), slots(4))
    assert entitlement_suspend(actor=OLGA, now=later(1), entitlement_id=row.pk).state == "suspended"
    assert entitlement_resume(actor=OLGA, now=later(2), entitlement_id=row.pk).state == "pending"
    ended = entitlement_expire(actor=OLGA, now=later(3), entitlement_id=row.pk)
    assert (ended.state, ended.valid_until) == ("expired", later(3))
    with pytest.raises(DomainError, match="has expired"):
        entitlement_suspend(actor=OLGA, now=later(4), entitlement_id=row.pk)


def test_an_unusual_ratio_of_slots_to_tokens_warns_and_does_not_refuse() -> None:
    made = entitlement_create(
        actor=OLGA,
        now=NOW,
        tenant=tenant_make("alice"),
        pool=pool_make(),
        tier=tier_make("guaranteed"),
        base=Rate(15, slots(8).kv_bytes, 8),
    )
    assert any("Little's law" in warning for warning in made.warnings)


def test_tier_versions_are_immutable() -> None:
    version = TierVersion.objects.get(tier=tier_make("elastic"))
    with pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic():
        TierVersion.objects.filter(pk=version.pk).update(slo_ms=1)


def test_a_tenant_sees_only_its_own_rows() -> None:
    pool = pool_make()
    promise(pool, tenant_make("alice"), tier_make("elastic"), slots(2))
    bob = leftover(pool, tenant_make("bob"), tier_make("spot"), slots(4))
    with tenant_scope(bob.tenant_id):
        assert list(Entitlement.objects.values_list("slug", flat=True)) == [bob.slug]
        with pytest.raises(DatabaseError), transaction.atomic():
            Entitlement.objects.update(base_concurrency=99)
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone()[0] == "postgres"


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(DomainError, match="ends before"):
        promise(
            pool_make(), tenant_make("alice"), tier_make("elastic"), slots(1), valid_until=NOW - timedelta(seconds=1)
        )


def _amounts(count: int) -> dict[str, int]:
    rate = slots(count)
    return {
        "base_tokens_per_second": rate.tokens_per_second,
        "base_kv_bytes": rate.kv_bytes,
        "base_concurrency": rate.concurrency,
    }
