"""Requests for more: Eve's admin asks, Olga decides, everybody else is refused or sees no form."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from pools.models import Entitlement, EntitlementRequest
from pools.services.request_undo import last_decision
from portal.accounts.models import User
from tests.cast import pool_make
from tests.web.conftest import Everybody
from tests.web.test_entitlements import said

As = Callable[[User | None], Client]
ASK = {
    "pool": "chat-8b",
    "concurrency": "8",
    "tokens_per_second": "120",
    "kv_bytes": "512 MiB",
    "reason": "spring sale 🌷",
}


@pytest.fixture
def eda(everybody: Everybody, as_: As) -> Client:
    return as_(everybody.eda)


@pytest.fixture
def olga(everybody: Everybody, as_: As) -> Client:
    return as_(everybody.olga)


def test_ask_and_approve(everybody: Everybody, eda: Client, olga: Client) -> None:
    page = eda.get("/t/eve/requests/")
    assert 'value="5"' in page.content.decode(), "asking begins at what is promised now"
    assert "is with the operators" in said(eda.post("/t/eve/requests/", ASK, follow=True))
    asked = EntitlementRequest.objects.get()
    assert asked.created_by == everybody.eda
    seen = said(olga.get("/requests/"))
    assert "1 request waits for a decision" in seen and "5 → 8" in seen and "fits now" in seen
    assert "spring sale" in said(olga.get(f"/requests/{asked.pk}/"))
    assert "asks for more here" in said(olga.get(f"/entitlements/{everybody.world.eve.slug}/"))
    answer = olga.post(f"/requests/{asked.pk}/", {"deed": "approve", "reason": "enjoy"})
    assert answer["Location"] == f"/entitlements/{everybody.world.eve.slug}/"
    everybody.world.eve.refresh_from_db()
    assert everybody.world.eve.base_concurrency == 8
    answer = said(eda.get("/t/eve/requests/"))
    assert "Approved" in answer and "enjoy" in answer and "Withdraw" not in answer


def test_deny_with_a_reason_the_tenant_reads(everybody: Everybody, eda: Client, olga: Client) -> None:
    eda.post("/t/eve/requests/", ASK)
    asked = EntitlementRequest.objects.get()
    refused = olga.post(f"/requests/{asked.pk}/", {"deed": "deny", "reason": " "})
    assert refused.status_code == 422 and 'href="#id_reason"' in refused.content.decode()
    assert "Denied" in said(olga.post(f"/requests/{asked.pk}/", {"deed": "deny", "reason": "in May"}, follow=True))
    assert "in May" in said(eda.get("/t/eve/requests/"))
    again = olga.post(f"/requests/{asked.pk}/", {"deed": "approve", "reason": "oh"})
    assert again.status_code == 422 and "denied already" in said(again)
    assert "Denied" in said(olga.get("/requests/?state=denied"))


def undo_in(answer: Any) -> str:
    """Where the Undo button of the newest toast leads."""
    found: list[str] = re.findall(r'action="([^"]*/undo/[^"]*)"', answer.content.decode())
    assert found
    return found[-1]


def test_decisions_offer_undo_in_their_toast(everybody: Everybody, eda: Client, olga: Client) -> None:
    eda.post("/t/eve/requests/", ASK)
    asked = EntitlementRequest.objects.get()
    at = f"/requests/{asked.pk}/"
    undo = undo_in(olga.post(at, {"deed": "deny", "reason": "in May"}, follow=True))
    assert eda.post(undo).status_code == 403
    assert "waits again." in said(olga.post(undo, follow=True))
    undo = undo_in(olga.post(at, {"deed": "approve", "reason": "now"}, follow=True))
    answer = said(olga.post(undo, follow=True))
    assert "what was promised is as it was before" in answer and "Approve: promise it now" in answer
    everybody.world.eve.refresh_from_db()
    assert everybody.world.eve.base_concurrency == 5
    assert "by now; nothing was taken back" in said(olga.post(undo, follow=True))


def test_a_withdrawal_is_the_tenants_to_take_back(everybody: Everybody, as_: As, eda: Client, olga: Client) -> None:
    eda.post("/t/eve/requests/", ASK)
    asked = EntitlementRequest.objects.get()
    undo = undo_in(eda.post(f"/t/eve/requests/{asked.pk}/withdraw/", follow=True))
    assert as_(everybody.anna).post(undo).status_code == 404
    assert as_(everybody.anna).post(undo.replace("/t/eve/", "/t/alice/")).status_code == 404
    assert "waits for an operator again" in said(eda.post(undo, follow=True))
    olga.post(f"/requests/{asked.pk}/", {"deed": "deny", "reason": "no"})
    denied = last_decision(asked.pk)
    assert denied is not None
    assert eda.post(f"/t/eve/requests/{asked.pk}/undo/{denied.pk}/").status_code == 404


def test_what_cannot_fit_is_refused_with_the_numbers_and_stays_open(
    everybody: Everybody, eda: Client, olga: Client
) -> None:
    eda.post("/t/eve/requests/", {**ASK, "concurrency": "900"})
    asked = EntitlementRequest.objects.get()
    assert "does not fit" in said(olga.get("/requests/"))
    answer = olga.post(f"/requests/{asked.pk}/", {"deed": "approve", "reason": "sure"})
    assert answer.status_code == 422 and "cannot promise this" in said(answer) and "sure" in said(answer)
    asked.refresh_from_db()
    assert asked.state == "open"


def test_where_nothing_is_held_a_tier_is_chosen(everybody: Everybody, eda: Client, olga: Client) -> None:
    pool_make("other", max_replicas=2)
    eda.post("/t/eve/requests/", {**ASK, "pool": "other"})
    asked = EntitlementRequest.objects.get()
    assert "choose a tier" in said(olga.get("/requests/"))
    fit = said(olga.post(f"/requests/{asked.pk}/check/", {"tier": "elastic"}))
    assert "Fits after scaling to 1 replicas" in fit
    answer = olga.post(f"/requests/{asked.pk}/", {"deed": "approve", "reason": "ok"})
    assert answer.status_code == 422 and 'href="#id_tier"' in answer.content.decode()
    olga.post(f"/requests/{asked.pk}/", {"deed": "approve", "reason": "ok", "tier": "elastic"})
    assert Entitlement.objects.get(pool__slug="other").tenant.slug == "eve"


def test_bad_asking_is_said_field_by_field(everybody: Everybody, eda: Client) -> None:
    for changes, words in (
        ({"reason": ""}, "This field is required"),
        ({"kv_bytes": "lots"}, "Write bytes such as"),
        ({"pool": "none"}, "There is no pool"),
        ({"concurrency": "", "tokens_per_second": "", "kv_bytes": ""}, "all three amounts are 0"),
    ):
        answer = eda.post("/t/eve/requests/", {**ASK, **changes})
        assert answer.status_code == 422 and words in said(answer), changes
        assert "120" in answer.content.decode() or changes.get("tokens_per_second") == ""
    eda.post("/t/eve/requests/", ASK)
    assert "withdraw it first" in said(eda.post("/t/eve/requests/", ASK))


def test_the_tenants_check_tells_nothing_of_others(everybody: Everybody, eda: Client) -> None:
    words = said(eda.post("/t/eve/requests/check/", {**ASK, "concurrency": "20"}))
    assert "needs more replicas to be started first" in words and "short" not in words and "Alice" not in words
    assert "You have 75 tok/s" in words


def test_withdraw_is_the_tenants_own(everybody: Everybody, as_: As, eda: Client) -> None:
    eda.post("/t/eve/requests/", ASK)
    asked = EntitlementRequest.objects.get()
    anna = as_(everybody.anna)  # Alice's admin
    assert anna.post(f"/t/alice/requests/{asked.pk}/withdraw/").status_code == 404
    assert anna.get("/t/eve/requests/").status_code == 404
    assert "is withdrawn" in said(eda.post(f"/t/eve/requests/{asked.pk}/withdraw/", follow=True))
    assert "withdrawn already" in said(eda.post(f"/t/eve/requests/{asked.pk}/withdraw/", follow=True))


def test_who_may_only_look_sees_no_form(everybody: Everybody, as_: As) -> None:
    for user in (everybody.vera, everybody.alan, everybody.ada):
        client = as_(user)
        assert "Send the request" not in client.get("/t/alice/requests/").content.decode()
        assert client.post("/t/alice/requests/", ASK).status_code == 403
    ada = as_(everybody.ada)
    EntitlementRequest.objects.create(
        tenant=everybody.world.eve.tenant,
        pool=everybody.world.pool,
        asked_tokens_per_second=1,
        asked_kv_bytes=1,
        asked_concurrency=1,
        reason="x",
    )
    asked = EntitlementRequest.objects.get()
    assert "Approve" not in ada.get(f"/requests/{asked.pk}/").content.decode()
    assert ada.post(f"/requests/{asked.pk}/", {"deed": "deny", "reason": "no"}).status_code == 403
    assert as_(everybody.eda).get("/requests/").status_code == 403
