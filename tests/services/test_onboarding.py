"""A tenant with its admin, its promise and its key: all of it, or nothing at all."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from django.core import mail

from pools.counters.keys import key_document
from pools.counters.types import Ask
from pools.models import Entitlement
from pools.services.binding import binding_reconcile
from pools.services.onboarding import FirstKey, FirstPromise, Onboarding, tenant_onboard
from pools.services.store import counters
from portal.accounts.models import ApiKey, Invitation, Tenant
from portal.audit.models import AuditRecord
from portal.lib.errors import DomainError
from portal.lib.hot import hot
from tests.cast import KV_TOKEN, NOW, OLGA, World, later, slots, tenant_make, world_make

pytestmark = pytest.mark.usefixtures("commits")


@pytest.fixture
def world() -> World:
    return world_make()


@pytest.fixture
def plan(world: World) -> Onboarding:
    return Onboarding(
        slug="acme",
        name="Acme 🚀",
        contact_email="it@acme.example",
        currency="USD",
        admin_email="lead@acme.example",
        promise=FirstPromise(world.pool, world.alice.tier, slots(4)),
        key=FirstKey("first"),
    )


def test_everything_is_made_and_the_key_works(world: World, plan: Onboarding) -> None:
    made = tenant_onboard(actor=OLGA, now=later(1), plan=plan)
    assert made.promise is not None and made.key is not None and made.invitation is not None
    assert (made.tenant.name, made.tenant.currency) == ("Acme 🚀", "USD")
    assert Invitation.objects.get().role == "admin" and mail.outbox[0].to == ["lead@acme.example"]
    binding_reconcile(world.pool.pk, later(2))
    entitlement = Entitlement.objects.get(tenant=made.tenant)
    assert entitlement.state == "bound" and entitlement.slug == "acme-chat-8b"
    document = orjson.loads(hot().get(key_document(made.key.key.digest)))  # type: ignore[arg-type]
    assert document["models"]["chat-8b"]["entitlement_id"] == entitlement.pk
    assert counters().reserve(Ask(world.pool.pk, entitlement.pk, "r", 64, 64 * KV_TOKEN)).admitted
    verbs = set(AuditRecord.objects.filter(tenant=made.tenant).values_list("verb", flat=True))
    assert {"tenant_create", "invitation_create", "entitlement_create", "key_create"} <= verbs


def test_parts_may_be_left_for_later(plan: Onboarding) -> None:
    made = tenant_onboard(actor=OLGA, now=NOW, plan=replace(plan, admin_email="", promise=None, key=None))
    assert (made.invitation, made.promise, made.key) == (None, None, None)
    assert Tenant.objects.filter(slug="acme").exists() and not Invitation.objects.exists()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"slug": "alice"}, "tenant.slug"),
        ({"currency": "euro"}, "tenant.currency"),
        ({"admin_email": "nobody"}, "admin.email"),
        ({"key": FirstKey("n" * 101)}, "key.name"),
        ({"key": FirstKey("k", expires_at=NOW)}, "key.expires_at"),
    ],
)
def test_one_wrong_part_and_nothing_is_made(plan: Onboarding, changes: dict[str, object], field: str) -> None:
    records, keys = AuditRecord.objects.count(), ApiKey.objects.count()
    with pytest.raises(DomainError) as caught:
        tenant_onboard(actor=OLGA, now=later(1), plan=replace(plan, **changes))  # type: ignore[arg-type]
    assert field in caught.value.fields
    assert not Tenant.objects.filter(slug="acme").exists()
    assert (AuditRecord.objects.count(), ApiKey.objects.count()) == (records, keys)
    assert not Invitation.objects.exists()


def test_a_promise_that_never_fits_undoes_the_rest(world: World, plan: Onboarding) -> None:
    too_much = replace(plan, promise=FirstPromise(world.pool, world.alice.tier, slots(100)))
    with pytest.raises(DomainError, match="cannot promise") as caught:
        tenant_onboard(actor=OLGA, now=later(1), plan=too_much)
    assert caught.value.fields.keys() == {"promise"}
    assert not Tenant.objects.filter(slug="acme").exists()
    tenant_make("acme")  # the slug is free again
