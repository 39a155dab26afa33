"""An operator edits, suspends, resumes, exports and offboards a tenant in the browser."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from billing.models import Account, Entry, Transfer
from billing.models.ledger import AccountKind
from pools.models import Entitlement
from pools.services.keys import key_create
from portal.accounts.models import Membership, Tenant, User
from portal.audit.models import AuditRecord
from portal.dashboards.tenant_export import export_stream
from portal.dashboards.tenants_now import tenants_forget
from tests.cast import NOW, OLGA, later
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
DETAILS = {"name": "Eve & Co", "contact_email": "eve@example.org", "currency": "EUR"}


@pytest.fixture(autouse=True)
def _now() -> None:
    tenants_forget()


def notes(answer: Any) -> list[Any]:
    return list(get_messages(answer.wsgi_request))


def undo_of(answer: Any) -> str:
    return str(notes(answer)[0].extra_tags).removeprefix("undo:")


def state(slug: str) -> str:
    return Tenant.objects.get(slug=slug).state


def test_an_edit_is_saved_and_undone(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    text = client.get("/tenants/eve/edit/").content.decode()
    assert 'name="seen_name" value="Eve"' in text
    answer = client.post("/tenants/eve/edit/", {**DETAILS, "reason": "renamed"})
    assert answer.status_code == 302 and answer["Location"] == "/tenants/eve/"
    assert Tenant.objects.get(slug="eve").name == "Eve & Co"
    record = AuditRecord.objects.get(verb="tenant_change")
    assert (record.actor, record.reason, record.source) == (everybody.olga, "renamed", "page")
    assert client.post(undo_of(answer)).status_code == 302
    assert Tenant.objects.get(slug="eve").name == "Eve"
    again = client.post("/tenants/eve/undo/999999/")
    assert again.status_code == 404


def test_an_edit_with_mistakes_keeps_what_was_typed(everybody: Everybody, as_: As) -> None:
    answer = as_(everybody.olga).post("/tenants/eve/edit/", {"name": "", "contact_email": "nobody", "currency": "eur"})
    text = answer.content.decode()
    assert answer.status_code == 422
    assert 'value="nobody"' in text and 'value="eur"' in text
    assert 'href="#id_name"' in text and "id_name_error" in text
    answer = as_(everybody.olga).post("/tenants/eve/edit/", {**DETAILS, "contact_email": "nobody", "currency": "eur"})
    text = answer.content.decode()
    assert answer.status_code == 422 and "is not an e-mail address" in text and "three capital letters" in text
    assert Tenant.objects.get(slug="eve").name == "Eve"


def test_the_second_of_two_editors_sees_what_the_first_did(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    seen = {"seen_name": "Eve", "seen_contact_email": "", "seen_currency": "EUR"}
    client.post("/tenants/eve/edit/", {**DETAILS, **seen})
    mine = {"name": "Mine", "contact_email": "", "currency": "USD"}
    answer = client.post("/tenants/eve/edit/", {**mine, **seen})
    text = answer.content.decode()
    assert answer.status_code == 409 and "name is now Eve &amp; Co" in text and 'value="Mine"' in text
    assert 'name="seen_name" value="Eve &amp; Co"' in text, "saving again is a decision now"
    again = {"seen_name": "Eve & Co", "seen_contact_email": "eve@example.org", "seen_currency": "EUR"}
    assert client.post("/tenants/eve/edit/", {**mine, **again}).status_code == 302
    assert Tenant.objects.get(slug="eve").name == "Mine"


def test_suspending_shows_what_stops_and_is_undone_and_redone(everybody: Everybody, as_: As) -> None:
    key_create(actor=OLGA, now=NOW, tenant=everybody.world.eve.tenant, name="k")
    client = as_(everybody.olga)
    text = client.get("/tenants/eve/suspend/").content.decode()
    assert "What stops, at once" in text and "chat-8b" in text and "tenant_suspended" in text
    assert client.post("/tenants/eve/suspend/", {"reason": "", "running": "finish"}).status_code == 422
    assert state("eve") == "active"
    answer = client.post("/tenants/eve/suspend/", {"reason": "unpaid", "running": "end"})
    assert answer.status_code == 302 and state("eve") == "suspended"
    assert Entitlement.objects.get(tenant__slug="eve").state == "suspended"
    assert "suspended already" in client.get("/tenants/eve/suspend/").content.decode()
    assert client.post("/tenants/eve/suspend/", {"reason": "x", "running": "end"}).status_code == 422
    resumed = client.post(undo_of(answer))
    assert resumed.status_code == 302 and state("eve") == "active"
    assert "1 entitlement will be bound again" in str(notes(resumed)[-1])
    back = str(notes(resumed)[-1].extra_tags).removeprefix("undo:")
    assert client.post(back).status_code == 302 and state("eve") == "suspended"
    assert "Resuming it was undone." in Tenant.objects.get(slug="eve").state_reason
    assert client.post("/tenants/alice/resume/").status_code == 302
    assert state("alice") == "active"


def test_the_suspended_tenants_people_read_why(everybody: Everybody, as_: As) -> None:
    as_(everybody.olga).post("/tenants/eve/suspend/", {"reason": "unpaid since May", "running": "finish"})
    answer = as_(everybody.eda).get("/t/eve/")
    assert answer.status_code == 200 and "unpaid since May" in answer.content.decode()


# -- export ----------------------------------------------------------------------------------------------------


def owed(everybody: Everybody) -> None:
    world = everybody.world
    mine = Account.objects.create(
        kind=AccountKind.ENTITLEMENT_DEBT, pool=world.pool, entitlement=world.eve, tenant=world.eve.tenant
    )
    house = Account.objects.create(kind=AccountKind.POOL_OBLIGATION, pool=world.pool)
    for number in range(5):
        move = Transfer.objects.create(
            pool=world.pool,
            tenant=world.eve.tenant,
            kind="accrual",
            at=later(number),
            period_start=later(number),
            period_end=later(number + 1),
            idempotency_key=f"k{number}",
            details={"gap_tokens": 5.0},
        )
        Entry.objects.bulk_create(
            [
                Entry(transfer=move, account=mine, amount_millitokens=5000),
                Entry(transfer=move, account=house, amount_millitokens=-5000),
            ]
        )


def test_the_export_holds_the_tenants_data_and_nobody_elses(everybody: Everybody, as_: As) -> None:
    owed(everybody)
    Tenant.objects.filter(slug="eve").update(name="Müller 🚀")
    key = key_create(actor=OLGA, now=NOW, tenant=everybody.world.eve.tenant, name="=evil()")
    answer = as_(everybody.ada).post("/tenants/eve/export/")
    assert answer.status_code == 200 and answer["Content-Type"] == "application/zip"
    assert 'filename="eve-' in answer["Content-Disposition"]
    archive = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))  # type: ignore[arg-type]
    assert archive.testzip() is None
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest["tenant"] == "eve" and manifest["exported_by"] == "ada@example.org"
    assert manifest["name"] == "Müller 🚀"
    assert set(manifest["files"]) | {"manifest.json"} == set(archive.namelist())
    ledger = list(csv.DictReader(io.StringIO(archive.read("ledger.csv").decode())))
    assert [row["amount_millitokens"] for row in ledger] == ["5000"] * 5
    assert json.loads(ledger[0]["transfer_details"]) == {"gap_tokens": 5.0}
    keys = archive.read("keys.csv").decode()
    assert "'=evil()" in keys and key.plaintext not in keys and key.key.digest not in keys
    entitlements = archive.read("entitlements.csv").decode()
    assert everybody.world.eve.slug in entitlements and everybody.world.alice.slug not in entitlements
    audit = [json.loads(line) for line in archive.read("audit.jsonl").decode().splitlines()]
    assert audit and {line["tenant"] for line in audit} == {"eve"}
    assert AuditRecord.objects.filter(verb="tenant_export", tenant__slug="eve", actor=everybody.ada).exists()


def test_the_export_is_written_in_pieces_and_stops_at_its_bound(
    everybody: Everybody, as_: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    owed(everybody)
    monkeypatch.setattr("portal.dashboards.tenant_export.LINES", 2)
    pieces = list(export_stream(everybody.world.eve.tenant, NOW + timedelta(1), "me", most=3))
    assert len(pieces) >= 8 and all(pieces), "a piece for each file at least"
    manifest = json.loads(zipfile.ZipFile(io.BytesIO(b"".join(pieces))).read("manifest.json"))
    assert manifest["files"]["ledger.csv"] == {
        "rows": 3,
        "truncated": True,
        "columns": manifest["files"]["ledger.csv"]["columns"],
    }
    assert manifest["files"]["members.csv"]["truncated"] is False


# -- offboard --------------------------------------------------------------------------------------------------


def test_offboarding_needs_the_word_the_reason_and_the_export(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    text = client.get("/tenants/eve/offboard/").content.decode()
    assert "cannot be undone" in text and "eda@example.org" in text and "Nobody has taken it yet" in text
    answer = client.post("/tenants/eve/offboard/", {"confirm": "Eve", "reason": "gone"})
    text = answer.content.decode()
    assert answer.status_code == 422 and "Type eve to offboard it" in text and "download it first" in text
    assert 'value="Eve"' in text and "gone" in text, "nothing typed is lost"
    assert state("eve") == "active"
    client.post("/tenants/eve/export/")
    text = client.get("/tenants/eve/offboard/").content.decode()
    assert "by olga@example.org" in text and "without_export" not in text
    answer = client.post("/tenants/eve/offboard/", {"confirm": "eve", "reason": "contract ended"})
    assert answer.status_code == 302 and state("eve") == "offboarded"
    assert not undo_of(answer).startswith("/"), "it offers no undo"
    assert "1 entitlement, 1 person ended" in str(notes(answer)[-1]) and "history stays" in str(notes(answer)[-1])
    assert not Membership.objects.filter(tenant__slug="eve").exists()
    page = client.get("/tenants/eve/").content.decode()
    assert "Offboarded" in page and ">Suspend<" not in page
    assert client.get("/tenants/eve/?tab=history").content.decode().count("tenant offboard") == 1
    assert "offboarded already" in client.get("/tenants/eve/offboard/").content.decode()
    assert as_(everybody.eda).get("/t/eve/").status_code == 404, "its people are strangers now"
    assert client.post("/tenants/eve/edit/", DETAILS).status_code == 422


def test_offboarding_without_an_export_when_none_is_needed(everybody: Everybody, as_: As) -> None:
    answer = as_(everybody.olga).post(
        "/tenants/bob/offboard/", {"confirm": "bob", "reason": "a trial", "without_export": "on"}
    )
    assert answer.status_code == 302 and state("bob") == "offboarded"
