"""Requests for more: Eve's team asks, Olga decides, and what is promised follows at once or not at all."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pools.mechanism.amounts import Rate
from pools.models import Entitlement, EntitlementRequest
from pools.models.requests import RequestState
from pools.services.entitlements import entitlement_change, entitlement_expire
from pools.services.request_undo import OPERATORS, TENANTS, last_decision, request_undo
from pools.services.requests import (
    asked_entitlement,
    entitlement_held,
    request_approve,
    request_create,
    request_deny,
    request_withdraw,
    requests_checked,
)
from portal.audit.models import AuditRecord
from portal.lib.errors import DomainError
from tests.cast import NOW, OLGA, World, later, pool_make, slots, tenant_make, tier_make, world_make


@pytest.fixture
def world() -> World:
    return world_make()


def ask(world: World, count: int = 8, **changes: object) -> EntitlementRequest:
    given = {"tenant": world.eve.tenant, "pool": world.pool, "asked": slots(count), "reason": "spring sale", **changes}
    return request_create(actor=OLGA, now=NOW, **given)  # type: ignore[arg-type]


def test_asking_changes_nothing_yet(world: World) -> None:
    made = ask(world)
    assert made.state == RequestState.OPEN and made.entitlement_id == world.eve.pk
    world.eve.refresh_from_db()
    assert world.eve.base_concurrency == 5
    assert AuditRecord.objects.get(verb="request_create").tenant_id == world.eve.tenant_id


def test_one_open_request_for_each_pool(world: World) -> None:
    first = ask(world)
    with pytest.raises(DomainError, match="withdraw it first") as refused:
        ask(world)
    assert refused.value.code == "open_already" and set(refused.value.fields) == {"pool"}
    request_withdraw(actor=OLGA, now=NOW, request_id=first.pk)
    assert ask(world).state == RequestState.OPEN


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"asked": Rate(0, 0, 0)}, "tokens_per_second"),
        ({"asked": Rate(2**63, 0, 0)}, "tokens_per_second"),
        ({"asked": Rate(0, 0, 2**31)}, "concurrency"),
        ({"reason": "  "}, "reason"),
    ],
)
def test_bad_requests_name_their_field(world: World, changes: dict[str, object], field: str) -> None:
    with pytest.raises(DomainError) as refused:
        ask(world, **changes)
    assert field in refused.value.fields and not EntitlementRequest.objects.exists()


def test_approval_promises_it_at_once_with_both_reasons_in_the_history(world: World) -> None:
    made = ask(world)
    result = request_approve(actor=OLGA, now=later(5), request_id=made.pk, reason="agreed")
    world.eve.refresh_from_db()
    assert world.eve.base_concurrency == 8 and result.entitlement.pk == world.eve.pk
    made.refresh_from_db()
    assert (made.state, made.decision_reason) == (RequestState.APPROVED, "agreed")
    record = AuditRecord.objects.get(verb="entitlement_change")
    assert record.reason == f"Request #{made.pk}: agreed"


def test_what_never_fits_is_refused_whole_and_stays_open(world: World) -> None:
    made = ask(world, 500)
    with pytest.raises(DomainError, match="cannot promise this") as refused:
        request_approve(actor=OLGA, now=NOW, request_id=made.pk, reason="agreed")
    assert refused.value.code == "never_fits"
    made.refresh_from_db()
    world.eve.refresh_from_db()
    assert made.state == RequestState.OPEN and world.eve.base_concurrency == 5


def test_a_newcomer_needs_a_tier(world: World) -> None:
    carol = tenant_make("carol")
    made = ask(world, 2, tenant=carol)
    with pytest.raises(DomainError, match="choose a tier") as refused:
        request_approve(actor=OLGA, now=NOW, request_id=made.pk, reason="welcome")
    assert set(refused.value.fields) == {"tier"}
    result = request_approve(actor=OLGA, now=NOW, request_id=made.pk, reason="welcome", tier=world.eve.tier)
    assert result.entitlement.tenant == carol and result.entitlement.base_concurrency == 2
    made.refresh_from_db()
    assert made.entitlement_id == result.entitlement.pk


def test_a_class_without_a_promise_gets_a_ceiling(world: World) -> None:
    made = ask(world, 20, tenant=world.bob.tenant)
    request_approve(actor=OLGA, now=NOW, request_id=made.pk, reason="fine")
    world.bob.refresh_from_db()
    assert (world.bob.base_concurrency, world.bob.cap_concurrency) == (0, 20)


def test_a_decided_request_never_changes_again(world: World) -> None:
    made = ask(world)
    request_deny(actor=OLGA, now=NOW, request_id=made.pk, reason="not this month")
    for deed in (request_deny, request_approve):
        with pytest.raises(DomainError, match="denied already") as refused:
            deed(actor=OLGA, now=NOW, request_id=made.pk, reason="again")
        assert refused.value.status == 409
    with pytest.raises(DomainError, match="denied already"):
        request_withdraw(actor=OLGA, now=NOW, request_id=made.pk)


def take_back(made: EntitlementRequest, kinds: tuple[str, ...] = OPERATORS) -> EntitlementRequest:
    record = last_decision(made.pk)
    assert record is not None
    request_undo(actor=OLGA, now=later(9), request_id=made.pk, record_id=record.pk, kinds=kinds)
    made.refresh_from_db()
    return made


def test_a_denial_and_a_withdrawal_are_taken_back(world: World) -> None:
    made = ask(world)
    request_deny(actor=OLGA, now=NOW, request_id=made.pk, reason="not this month")
    with pytest.raises(DomainError) as refused:
        take_back(made, TENANTS)
    assert refused.value.status == 404, "what an operator decided is not the tenant's to take back"
    made = take_back(made)
    assert (made.state, made.decision_reason, made.decided_by, made.decided_at) == (RequestState.OPEN, "", None, None)
    with pytest.raises(DomainError, match="waiting for an operator by now"):
        take_back(made)
    request_withdraw(actor=OLGA, now=NOW, request_id=made.pk)
    assert take_back(made, TENANTS).state == RequestState.OPEN
    assert AuditRecord.objects.filter(verb="request_reopen", tenant=world.eve.tenant).count() == 2


def test_an_approval_taken_back_puts_the_terms_back(world: World) -> None:
    made = ask(world)
    request_approve(actor=OLGA, now=later(5), request_id=made.pk, reason="agreed")
    made = take_back(made)
    world.eve.refresh_from_db()
    assert (made.state, world.eve.base_concurrency) == (RequestState.OPEN, 5)
    request_approve(actor=OLGA, now=later(11), request_id=made.pk, reason="after all")
    world.eve.refresh_from_db()
    assert world.eve.base_concurrency == 8


def test_an_approval_taken_back_ends_what_it_made(world: World) -> None:
    made = ask(world, 2, tenant=tenant_make("carol"))
    row = request_approve(actor=OLGA, now=NOW, request_id=made.pk, reason="hi", tier=world.eve.tier).entitlement
    made = take_back(made)
    row.refresh_from_db()
    assert (made.state, made.entitlement, row.state) == (RequestState.OPEN, None, "expired")


def test_an_approval_that_changed_nothing_is_taken_back_too(world: World) -> None:
    made = ask(world, 5)
    request_approve(actor=OLGA, now=NOW, request_id=made.pk, reason="you have it")
    assert take_back(made).state == RequestState.OPEN


def test_a_decision_stays_when_something_newer_happened(world: World) -> None:
    made = ask(world)
    request_approve(actor=OLGA, now=NOW, request_id=made.pk, reason="agreed")
    changes = {"base_concurrency": 9}
    entitlement_change(actor=OLGA, now=later(1), entitlement_id=world.eve.pk, changes=changes)
    with pytest.raises(DomainError, match="was changed again since request") as refused:
        take_back(made)
    made.refresh_from_db()
    world.eve.refresh_from_db()
    assert refused.value.status == 409 and (made.state, world.eve.base_concurrency) == (RequestState.APPROVED, 9)
    entitlement_expire(actor=OLGA, now=later(2), entitlement_id=world.eve.pk)
    with pytest.raises(DomainError, match="has ended since request"):
        take_back(made)
    denied = ask(world, 3, tenant=world.alice.tenant)
    request_deny(actor=OLGA, now=NOW, request_id=denied.pk, reason="no")
    again = ask(world, 4, tenant=world.alice.tenant)
    with pytest.raises(DomainError, match=f"asked again for chat-8b since .request #{again.pk}"):
        take_back(denied)


def test_a_decision_needs_a_reason_and_a_request(world: World) -> None:
    made = ask(world)
    with pytest.raises(DomainError) as refused:
        request_deny(actor=OLGA, now=NOW, request_id=made.pk, reason=" ")
    assert set(refused.value.fields) == {"reason"}
    with pytest.raises(DomainError) as missing:
        request_deny(actor=OLGA, now=NOW, request_id=made.pk + 1, reason="x")
    assert missing.value.status == 404


def test_the_list_is_checked_with_few_queries_whatever_its_length(world: World) -> None:
    ask(world, 8)
    ask(world, 500, tenant=world.alice.tenant)
    ask(world, 1, tenant=tenant_make("carol"))
    other = pool_make("empty-8b", max_replicas=1)
    ask(world, 1, pool=other)
    rows = list(EntitlementRequest.objects.select_related("tenant", "pool__current_profile").order_by("pk"))
    with CaptureQueriesContext(connection) as seen:
        found = requests_checked(rows, NOW)
    assert len(seen) <= 3
    eve, alice, carol, eve_there = found
    assert eve.check is not None and eve.check.verdict == "now"
    assert alice.check is not None and alice.check.verdict == "never" and dict(alice.check.short)[2] > 400
    assert carol.check is None and eve_there.check is None, "nothing is held there: a tier must be chosen first"


def test_an_explicit_cap_follows_upward_only(world: World) -> None:
    Entitlement.objects.filter(pk=world.eve.pk).update(cap_concurrency=6)
    held = entitlement_held(world.eve.tenant, world.pool)
    after = asked_entitlement(ask(world, 8), held, None)
    assert after is not None and (after.base_concurrency, after.cap_concurrency) == (8, 8)
    assert held is not None and held.base_concurrency == 5, "what is stored is not touched"
    guaranteed = asked_entitlement(EntitlementRequest.objects.get(), held, tier_make("guaranteed", "sure"))
    assert guaranteed is not None and guaranteed.cap_concurrency == 8
