"""Tenants: edited with undo, suspended and resumed whole, offboarded for good with their history kept."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest

from pools.choices import EntitlementState
from pools.counters.keys import REVOKED_CHANNEL, eviction_channel, key_document
from pools.counters.types import Ask
from pools.models import Entitlement, EntitlementRequest
from pools.services.binding import binding_reconcile
from pools.services.entitlements import entitlement_resume, entitlement_suspend
from pools.services.keys import key_create
from pools.services.offboarding import export_note, tenant_offboard
from pools.services.requests import request_create
from pools.services.store import counters
from pools.services.tenant_states import Resumed, tenant_resume, tenant_suspend
from pools.services.tenants import membership_set, tenant_change, tenant_change_undo, tenant_create
from portal.accounts.choices import TenantRole
from portal.accounts.models import ApiKey, Invitation, Membership, Tenant
from portal.accounts.tenants import details_of
from portal.audit.chain import record_hash
from portal.audit.models import AuditRecord
from portal.audit.services import content_of
from portal.lib.errors import DomainError
from portal.lib.hot import hot
from portal.people.invitations import invitation_create
from tests.cast import (
    KV_TOKEN,
    NOW,
    OLGA,
    World,
    later,
    pool_make,
    promise,
    replica_ready,
    slots,
    tenant_make,
    world_make,
)
from tests.portal_cast import person

pytestmark = pytest.mark.usefixtures("commits")


@pytest.fixture
def world() -> World:
    return world_make()


def ask(row: Entitlement, name: str = "r") -> Ask:
    return Ask(row.pool_id, row.pk, name, 64, 64 * KV_TOKEN)


def code(row: Entitlement, name: str) -> int:
    return counters().reserve(ask(row, name)).code


def suspend(tenant: Tenant, **more: object) -> Tenant:
    return tenant_suspend(actor=OLGA, now=later(1), tenant_id=tenant.pk, reason="unpaid", **more)  # type: ignore[arg-type]


def resume(tenant: Tenant) -> Resumed:
    return tenant_resume(actor=OLGA, now=later(2), tenant_id=tenant.pk)


def offboard(tenant: Tenant, confirm: str = "eve", reason: str = "contract ended", **more: bool):  # type: ignore[no-untyped-def]
    return tenant_offboard(actor=OLGA, now=later(3), tenant_id=tenant.pk, confirm=confirm, reason=reason, **more)


# -- details ---------------------------------------------------------------------------------------------------


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(DomainError) as caught:
        tenant_create(actor=OLGA, now=NOW, slug="x", name="n" * 201, contact_email="nobody", currency="euro")
    assert set(caught.value.fields) == {"name", "contact_email", "currency"}
    assert not Tenant.objects.filter(slug="x").exists()


def test_an_edit_is_recorded_and_undone() -> None:
    tenant = tenant_make("acme")
    seen = details_of(tenant)
    record = tenant_change(
        actor=OLGA, now=NOW, tenant_id=tenant.pk, name="Acme 🚀", contact_email="a@b.example", currency="USD", seen=seen
    )
    assert record is not None and record.before["name"] == "Acme"
    tenant_change_undo(actor=OLGA, now=later(1), tenant_id=tenant.pk, record_id=record.pk)
    tenant.refresh_from_db()
    assert details_of(tenant) == seen
    assert AuditRecord.objects.filter(verb="tenant_change", tenant=tenant).count() == 2


def test_an_edit_that_changes_nothing_leaves_no_record() -> None:
    tenant = tenant_make("acme")
    assert tenant_change(actor=OLGA, now=NOW, tenant_id=tenant.pk, **details_of(tenant)) is None


def test_two_editors_the_second_is_told_what_the_first_did() -> None:
    tenant = tenant_make("acme")
    seen = details_of(tenant)
    first = tenant_change(actor=OLGA, now=NOW, tenant_id=tenant.pk, **{**seen, "currency": "USD"}, seen=seen)
    with pytest.raises(DomainError, match="currency is now USD") as caught:
        tenant_change(actor=OLGA, now=NOW, tenant_id=tenant.pk, **{**seen, "name": "New"}, seen=seen)
    assert caught.value.code == "tenant_moved"
    tenant_change(actor=OLGA, now=NOW, tenant_id=tenant.pk, **{**seen, "currency": "CHF"})
    assert first is not None
    with pytest.raises(DomainError, match="changed again since"):
        tenant_change_undo(actor=OLGA, now=NOW, tenant_id=tenant.pk, record_id=first.pk)


def test_a_change_of_another_tenant_is_not_undone_here() -> None:
    one, two = tenant_make("one"), tenant_make("two")
    record = tenant_change(actor=OLGA, now=NOW, tenant_id=one.pk, name="1", contact_email="", currency="EUR")
    assert record is not None
    with pytest.raises(DomainError, match="no change"):
        tenant_change_undo(actor=OLGA, now=NOW, tenant_id=two.pk, record_id=record.pk)


# -- suspend and resume ----------------------------------------------------------------------------------------


def test_suspending_stops_keys_and_entitlements_and_frees_the_promise(world: World) -> None:
    key = key_create(actor=OLGA, now=NOW, tenant=world.alice.tenant, name="k")
    heard = hot().pubsub()
    heard.subscribe(REVOKED_CHANNEL)
    heard.get_message(timeout=1.0)
    assert code(world.alice, "before") == 0
    suspend(world.alice.tenant)
    document = orjson.loads(hot().get(key_document(key.key.digest)))  # type: ignore[arg-type]
    assert document["suspended"] is True
    message = heard.get_message(timeout=1.0)
    heard.close()
    assert message is not None and message["data"].decode() == key.key.digest, "gateways drop their cached copy"
    assert code(world.alice, "after") == 1
    world.alice.refresh_from_db()
    assert (world.alice.state, world.alice.suspended_with_tenant) == (EntitlementState.SUSPENDED, True)
    assert "unpaid" in world.alice.state_reason
    assert ApiKey.objects.get(pk=key.key.pk).revoked_at is None, "the key itself is kept"


def test_every_entitlement_has_its_own_record_in_the_chain(world: World) -> None:
    second = pool_make("second")
    replica_ready(second)
    own = promise(second, world.eve.tenant, world.eve.tier, slots(2))
    suspend(world.eve.tenant)
    resume(world.eve.tenant)
    for row in (world.eve, own):
        verbs = AuditRecord.objects.filter(object_type="pools.entitlement", object_id=str(row.pk)).order_by("pk")
        assert list(verbs.values_list("verb", flat=True))[-2:] == ["entitlement_suspend", "entitlement_resume"]
    last = ""
    for record in AuditRecord.objects.order_by("pk"):
        assert record.previous_hash == last and record.hash == record_hash(last, content_of(record))
        last = record.hash


def test_two_windows_of_one_pool_are_resumed_one_after_the_other(world: World) -> None:
    """Each is measured in its own window: beside what was promised meanwhile for later on, only the first fits."""
    tenant = tenant_make("pair")
    first = promise(world.pool, tenant, world.alice.tier, slots(20), slug="first", valid_until=later(900))
    second = promise(world.pool, tenant, world.alice.tier, slots(20), slug="second", valid_from=later(900))
    suspend(tenant)
    promise(world.pool, tenant_make("greedy"), world.alice.tier, slots(64 - 6 - 5 - 25))
    promise(world.pool, tenant_make("later"), world.alice.tier, slots(8), valid_from=later(1200))
    done = resume(tenant)
    assert done.resumed == 1 and [slug for slug, _ in done.stayed] == ["second"]
    assert "from 2 Mar 10:20 UTC on: 3 sequences short" in done.stayed[0][1].replace("45 tokens/s short, ", "")
    for row, state in ((first, "pending"), (second, "suspended")):
        row.refresh_from_db()
        assert row.state == state


def test_an_ended_window_keeps_what_it_says_of_its_end(world: World) -> None:
    future = promise(
        pool_make("second"), world.eve.tenant, world.eve.tier, slots(2), valid_from=later(900), valid_until=later(1800)
    )
    offboard(world.eve.tenant, without_export=True)
    world.eve.refresh_from_db()
    future.refresh_from_db()
    assert (world.eve.valid_until, future.valid_until) == (later(3), None)
    assert {world.eve.state, future.state} == {"expired"}


def test_others_are_untouched(world: World) -> None:
    suspend(world.alice.tenant)
    assert code(world.eve, "eve") == 0
    world.eve.refresh_from_db()
    assert world.eve.state == EntitlementState.BOUND


def test_running_requests_are_ended_only_when_asked(world: World) -> None:
    assert counters().reserve(ask(world.alice, "running")).admitted
    assert counters().reserve(ask(world.eve, "hers")).admitted
    heard = hot().pubsub()
    heard.subscribe(eviction_channel(world.pool.pk))
    heard.get_message(timeout=1.0)
    suspend(world.alice.tenant)
    assert heard.get_message(timeout=0.0) is None
    resume(world.alice.tenant)
    suspend(world.alice.tenant, end_running=True)
    message = heard.get_message(timeout=1.0)
    heard.close()
    assert message is not None and message["data"].decode() == f"{world.alice.pk}:running"


def test_resuming_brings_back_what_was_suspended_with_it_and_nothing_else(world: World) -> None:
    second = pool_make("second")
    replica_ready(second)
    own = promise(second, world.eve.tenant, world.eve.tier, slots(2))
    entitlement_suspend(actor=OLGA, now=NOW, entitlement_id=own.pk, reason="its own affair")
    suspend(world.eve.tenant)
    done = resume(world.eve.tenant)
    assert (done.resumed, done.stayed, done.tenant.state) == (1, (), "active")
    binding_reconcile(world.pool.pk, later(3))
    for row, state in ((world.eve, "bound"), (own, "suspended")):
        row.refresh_from_db()
        assert (row.state, row.suspended_with_tenant) == (state, False)
    assert code(world.eve, "again") == 0


def test_what_no_longer_fits_stays_suspended_and_is_named(world: World) -> None:
    suspend(world.alice.tenant)
    promise(world.pool, tenant_make("greedy"), world.alice.tier, slots(4 * 16 - 5))
    done = resume(world.alice.tenant)
    assert done.resumed == 0 and done.stayed[0][0] == world.alice.slug and "cannot promise" in done.stayed[0][1]
    world.alice.refresh_from_db()
    assert world.alice.state == EntitlementState.SUSPENDED
    assert done.tenant.state == "active"


def test_nothing_of_a_suspended_tenant_is_resumed_or_promised_by_another_door(world: World) -> None:
    suspend(world.alice.tenant)
    with pytest.raises(DomainError, match="resume it first"):
        entitlement_resume(actor=OLGA, now=later(2), entitlement_id=world.alice.pk)
    second = pool_make("second")
    tenant = Tenant.objects.get(pk=world.alice.tenant_id)
    with pytest.raises(DomainError, match="resume it first"):
        promise(second, tenant, world.alice.tier, slots(1))
    with pytest.raises(DomainError, match="active tenant"):
        key_create(actor=OLGA, now=later(2), tenant=tenant, name="k")


def test_suspending_twice_and_without_a_reason(world: World) -> None:
    with pytest.raises(DomainError, match="Give a reason") as caught:
        tenant_suspend(actor=OLGA, now=NOW, tenant_id=world.alice.tenant_id, reason="  ")
    assert caught.value.fields.keys() == {"reason"}
    suspend(world.alice.tenant)
    with pytest.raises(DomainError, match="suspended already"):
        suspend(world.alice.tenant)
    resume(world.alice.tenant)
    with pytest.raises(DomainError, match="is active, not suspended"):
        resume(world.alice.tenant)


# -- offboard --------------------------------------------------------------------------------------------------


def test_offboarding_ends_everything_and_keeps_the_history(world: World) -> None:
    tenant = world.eve.tenant
    key = key_create(actor=OLGA, now=NOW, tenant=tenant, name="k")
    member = person("eda@example.org")
    membership_set(actor=OLGA, now=NOW, tenant=tenant, user=member, role=TenantRole.ADMIN)
    invitation_create(actor=OLGA, now=NOW, email="late@example.org", tenant=tenant, role=TenantRole.MEMBER)
    request_create(actor=OLGA, now=NOW, tenant=tenant, pool=world.pool, asked=slots(6), reason="more")
    records = AuditRecord.objects.filter(tenant=tenant).count()
    export_note(actor=OLGA, now=later(2), tenant=tenant)
    done = offboard(tenant)
    assert done.counts == {"keys": 1, "entitlements": 1, "people": 1, "requests": 1, "invitations": 1}
    assert hot().get(key_document(key.key.digest)) is None
    assert code(world.eve, "after") == 2
    world.eve.refresh_from_db()
    assert world.eve.state == EntitlementState.EXPIRED
    assert not Membership.objects.filter(tenant=tenant).exists()
    assert Invitation.objects.get().revoked_at is not None
    assert EntitlementRequest.objects.get().state == "withdrawn"
    assert AuditRecord.objects.filter(tenant=tenant).count() > records
    assert Tenant.objects.get(slug="eve").state == "offboarded"
    with pytest.raises(DomainError, match="offboarded already"):
        offboard(tenant)
    with pytest.raises(DomainError, match="cannot be taken back"):
        promise(world.pool, Tenant.objects.get(pk=tenant.pk), world.eve.tier, slots(1))
    with pytest.raises(DomainError, match="nobody joins"):
        membership_set(actor=OLGA, now=NOW, tenant=Tenant.objects.get(pk=tenant.pk), user=member)


def test_offboarding_refuses_a_wrong_word_no_reason_and_no_export(world: World) -> None:
    with pytest.raises(DomainError) as caught:
        offboard(world.eve.tenant, confirm="alice", reason="")
    assert set(caught.value.fields) == {"confirm", "reason", "without_export"}
    world.eve.refresh_from_db()
    assert world.eve.state == EntitlementState.BOUND
    assert Tenant.objects.get(slug="eve").state == "active"
    assert offboard(world.eve.tenant, without_export=True).entitlements == 1


def test_a_suspended_tenant_is_offboarded_too(world: World) -> None:
    suspend(world.eve.tenant)
    offboard(world.eve.tenant, without_export=True)
    world.eve.refresh_from_db()
    assert world.eve.state == EntitlementState.EXPIRED
    assert world.eve.valid_until is None or world.eve.valid_until <= later(3) + timedelta(seconds=1)
