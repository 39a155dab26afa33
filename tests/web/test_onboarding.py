"""The onboarding wizard: nothing typed is lost, nothing is made before the last step, the key is shown once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from pools.models import Entitlement
from portal.accounts.models import ApiKey, Invitation, Tenant, User
from portal.audit.models import AuditRecord
from portal.dashboards.onboarding_draft import MOST
from tests.cast import SLOT_KV
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
TENANT = {"name": "Acme Øst 🚀", "slug": "acme", "contact_email": "it@acme.example", "currency": "USD"}
ADMIN = {"email": "lead@acme.example"}
PROMISE = {
    "pool": "chat-8b",
    "tier": "guaranteed",
    "base_concurrency": "4",
    "base_tokens_per_second": "60",
    "base_kv_bytes": str(SLOT_KV * 4),
}
KEY = {"name": "first key", "days": "90"}
STEPS = {"tenant": TENANT, "admin": ADMIN, "promise": PROMISE, "key": KEY}


def send(client: Client, step: str, data: dict[str, str], draft: str = "d1") -> Any:
    return client.post(f"/onboard/{draft}/{step}/", data)


def fill(client: Client, draft: str = "d1", **changes: dict[str, str]) -> None:
    for step, data in {**STEPS, **changes}.items():
        answer = send(client, step, data, draft)
        assert answer.status_code == 302, (step, answer.context["form"].errors)


def test_from_the_first_step_to_the_key(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    first = client.get("/onboard/")
    assert first.status_code == 302 and first["Location"].endswith("/tenant/")
    fill(client)
    review = client.get("/onboard/d1/review/").content.decode()
    for said in ("Acme Øst 🚀", "lead@acme.example", "chat-8b", "60", "first key", "All of this happens at once"):
        assert said in review
    assert "Fits now" in review
    assert not Tenant.objects.filter(slug="acme").exists(), "nothing is made before the last step"
    done = client.post("/onboard/d1/review/")
    assert done.status_code == 201 and "no-store" in done["Cache-Control"]
    text = done.content.decode()
    key = done.context["made"].key.plaintext
    assert key in text and "curl -s http" in text and "/v1/chat/completions" in text
    assert "An invitation is on its way to lead@acme.example" in text
    assert Entitlement.objects.get(tenant__slug="acme").base_concurrency == 4
    assert ApiKey.objects.get(tenant__slug="acme").expires_at is not None
    assert Invitation.objects.get(tenant__slug="acme").role == "admin"
    assert AuditRecord.objects.filter(tenant__slug="acme", actor=everybody.olga, source="page").count() == 4
    again = client.post("/onboard/d1/review/")
    assert again.status_code == 302 and again["Location"] == "/tenants/acme/", "sent twice, done once"
    assert key not in client.get("/tenants/acme/?tab=keys").content.decode()
    assert client.get("/tenants/acme/").status_code == 200


def test_what_was_typed_is_kept_through_mistakes_and_leaving(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    answer = send(client, "tenant", {**TENANT, "slug": "alice", "currency": "euro"})
    text = answer.content.decode()
    assert answer.status_code == 422 and 'value="Acme Øst 🚀"' in text and "is-invalid" in text
    answer = send(client, "tenant", {**TENANT, "slug": "alice"})
    assert "There is a tenant" in answer.content.decode() and 'href="#id_slug"' in answer.content.decode()
    send(client, "tenant", TENANT)
    assert 'value="it@acme.example"' in client.get("/onboard/d1/admin/").content.decode(), "offered as the admin"
    client.get("/tenants/")
    assert 'value="Acme Øst 🚀"' in client.get("/onboard/d1/tenant/").content.decode()


def test_steps_cannot_be_skipped(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    for missing in STEPS:
        answer = client.post("/onboard/d1/review/")
        assert answer.status_code == 302 and answer["Location"].endswith(f"/{missing}/")
        send(client, missing, STEPS[missing])
    assert client.get("/onboard/d1/nowhere/").status_code == 404


@pytest.mark.parametrize(
    ("step", "data", "said"),
    [
        ("admin", {"email": ""}, "or say that nobody is invited yet"),
        ("admin", {"email": "nobody"}, "valid email"),
        ("promise", {}, "or promise nothing yet"),
        ("promise", {**PROMISE, "base_kv_bytes": "much"}, "Write bytes such as"),
        ("promise", {**PROMISE, "base_concurrency": "-1"}, "greater than or equal to 0"),
        ("promise", {**PROMISE, "pool": "none"}, "valid choice"),
        ("key", {"name": "", "days": ""}, "or make none yet"),
        ("key", {"name": "k", "days": "7"}, "valid choice"),
    ],
)
def test_each_step_says_what_is_wrong(
    step: str, data: dict[str, str], said: str, everybody: Everybody, as_: As
) -> None:
    answer = send(as_(everybody.olga), step, data)
    assert answer.status_code == 422 and said in answer.content.decode()


def test_parts_left_for_later_are_not_made(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    later = {"later": "on"}
    fill(client, admin=later, promise={**later, "pool": "nonsense"}, key=later)
    review = client.get("/onboard/d1/review/").content.decode()
    assert "Nobody is invited yet" in review and "Nothing is promised yet" in review and "No key is made yet" in review
    done = client.post("/onboard/d1/review/")
    assert done.status_code == 201 and "curl" not in done.content.decode()
    assert not Entitlement.objects.filter(tenant__slug="acme").exists()
    assert not ApiKey.objects.filter(tenant__slug="acme").exists()


def test_a_refusal_at_the_end_names_the_step_and_makes_nothing(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    too_much = {**PROMISE, "base_concurrency": "400", "base_kv_bytes": str(SLOT_KV * 400)}
    fill(client, promise=too_much)
    assert "Does not fit" in client.get("/onboard/d1/review/").content.decode()
    answer = client.post("/onboard/d1/review/")
    text = answer.content.decode()
    assert answer.status_code == 422 and "Nothing was made" in text and "/onboard/d1/promise/" in text
    assert not Tenant.objects.filter(slug="acme").exists() and not Invitation.objects.exists()
    send(client, "promise", PROMISE)
    assert client.post("/onboard/d1/review/").status_code == 201, "mended and sent again"


def test_the_live_check_answers_while_one_types(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)

    def asked(**changes: str) -> str:
        return client.post("/onboard/check/", {**PROMISE, **changes}).content.decode()

    assert "Fits now" in asked()
    assert "Fits after scaling to 2 replicas" in asked(base_concurrency="12", base_kv_bytes=str(SLOT_KV * 12))
    assert "Does not fit" in asked(base_concurrency="500", base_kv_bytes=str(SLOT_KV * 500))
    assert "Refused as it stands" in asked(base_concurrency="0")
    assert "Choose a tier" in asked(tier="")
    assert "carries" in asked() and "Use these" in asked()
    assert "Choose a pool" in client.post("/onboard/check/", {}).content.decode()
    assert client.post("/onboard/check/", {"base_concurrency": "9" * 40, "pool": "\x00"}).status_code == 200
    assert not Tenant.objects.filter(slug="new").exists() and Entitlement.objects.count() == 3


def test_drafts_do_not_mix_and_old_ones_are_forgotten(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    send(client, "tenant", TENANT, "one")
    send(client, "tenant", {**TENANT, "name": "Other", "slug": "other"}, "two")
    assert 'value="Acme Øst 🚀"' in client.get("/onboard/one/tenant/").content.decode()
    assert 'value="Other"' in client.get("/onboard/two/tenant/").content.decode()
    for number in range(MOST):
        send(client, "tenant", TENANT, f"more{number}")
    assert "Acme" not in client.get("/onboard/one/tenant/").content.decode()
    assert len(client.session["onboarding"]) == MOST


def test_the_last_page_asks_until_it_is_bound(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    fill(client)
    client.post("/onboard/d1/review/")
    pending = client.get("/onboard/bound/acme/").content.decode()
    assert "hx-get" in pending and "pending" in pending
    Entitlement.objects.filter(tenant__slug="acme").update(state="bound")
    bound = client.get("/onboard/bound/acme/").content.decode()
    assert "hx-get" not in bound and "requests are let in" in bound


def test_a_key_and_a_model_with_odd_letters_stay_one_command() -> None:
    import shlex

    from portal.dashboards.views.onboarding import curl_line

    words = shlex.split(curl_line("tp_live_x", 'it\'s a "model" 🚀'))
    assert words[0] == "curl" and '"model": "it\'s a \\"model\\" 🚀"' in words[-1]
