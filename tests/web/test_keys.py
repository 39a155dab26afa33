"""Keys on their page: made, rotated with overlap and back, given another end, revoked; each only by who may."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.messages import get_messages
from django.test import Client

from pools.counters.keys import key_document
from pools.services.keys import key_create, key_expiry_set, key_rotate, key_undo, rotation_of
from portal.accounts.choices import KeyKind
from portal.accounts.models import ApiKey, Tenant, User
from portal.audit.models import AuditRecord
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.hot import hot
from portal.lib.secrets import key_digest
from tests.cast import NOW, OLGA, later
from tests.services.conftest import commits  # noqa: F401  a fixture
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


def said(answer: Any) -> str:
    return str(list(get_messages(answer.wsgi_request))[-1])


def undo_of(answer: Any) -> str:
    return str(list(get_messages(answer.wsgi_request))[-1].extra_tags).removeprefix("undo:")


def make(tenant: Tenant, name: str = "ci", **more: Any) -> ApiKey:
    return key_create(actor=OLGA, now=now(), tenant=tenant, name=name, **more).key


def published(digest: str) -> bool:
    return bool(hot().exists(key_document(digest)))


def test_a_key_is_rotated_and_the_rotation_taken_back(everybody: Everybody, as_: As, commits: None) -> None:  # noqa: F811
    client, old = as_(everybody.alan), make(everybody.world.alice.tenant)
    answer = client.post(f"/t/alice/keys/{old.pk}/rotate/", {"overlap": "168"})
    made = answer.context["made"]
    text = answer.content.decode()
    assert answer.status_code == 201 and made.plaintext in text and "works until" in text
    assert "no-store" in answer["Cache-Control"]
    old.refresh_from_db()
    assert timedelta(days=6) < old.expires_at - now() < timedelta(days=7)  # type: ignore[operator]
    assert published(old.digest) and published(key_digest(made.plaintext, settings.SECRET_KEY))
    back = client.post(undo_of(answer))
    assert back.status_code == 302 and "as it was before" in said(back)
    old.refresh_from_db()
    assert old.expires_at is None and published(old.digest)
    assert not published(made.key.digest) and ApiKey.objects.get(pk=made.key.pk).revoked_at is not None
    assert made.plaintext not in client.get("/t/alice/keys/?show=all").content.decode()


def test_rotating_without_overlap_ends_the_old_key_and_has_no_undo(everybody: Everybody, as_: As) -> None:
    old = make(everybody.world.alice.tenant)
    answer = as_(everybody.alan).post(f"/t/alice/keys/{old.pk}/rotate/", {"overlap": "0"})
    old.refresh_from_db()
    assert old.revoked_at is not None and "has ended" in answer.content.decode()
    assert not undo_of(answer).startswith("/")
    again = as_(everybody.alan).post(f"/t/alice/keys/{old.pk}/rotate/", {"overlap": "24"})
    assert "is revoked; make a new one" in said(again)


def test_another_end_and_back(everybody: Everybody, as_: As, commits: None) -> None:  # noqa: F811
    client, key = as_(everybody.alan), make(everybody.world.alice.tenant)
    answer = client.post(f"/t/alice/keys/{key.pk}/end/", {"days": "7"})
    key.refresh_from_db()
    assert key.expires_at is not None and "expires on" in said(answer)
    client.post(undo_of(answer))
    key.refresh_from_db()
    assert key.expires_at is None
    assert "Give the last day" in said(client.post(f"/t/alice/keys/{key.pk}/end/", {"days": "day"}))
    past = client.post(f"/t/alice/keys/{key.pk}/end/", {"days": "day", "day": "2020-01-01"})
    assert "which is past" in said(past)
    same = client.post(f"/t/alice/keys/{key.pk}/end/", {"days": ""})
    assert not undo_of(same).startswith("/"), "nothing changed, nothing to undo"


def test_an_undo_that_came_too_late_is_refused(everybody: Everybody) -> None:
    tenant = everybody.world.alice.tenant
    key = key_create(actor=OLGA, now=NOW, tenant=tenant, name="k", expires_at=later(7200)).key
    key_rotate(actor=OLGA, now=NOW, key_id=key.pk, overlap=timedelta(hours=1))
    record = rotation_of(key)
    assert record is not None and record.after["successor_id"]
    for moment, words in ((later(3700), "has expired"), (later(9000), "has expired")):
        with pytest.raises(DomainError, match=words):
            key_undo(actor=OLGA, now=moment, tenant=tenant, record_id=record.pk)
    key_expiry_set(actor=OLGA, now=later(10), key_id=key.pk, expires_at=later(90_000))
    with pytest.raises(DomainError, match="changed again since"):
        key_undo(actor=OLGA, now=later(20), tenant=tenant, record_id=record.pk)
    with pytest.raises(DomainError, match="no such change"):
        key_undo(actor=OLGA, now=NOW, tenant=everybody.world.eve.tenant, record_id=record.pk)


def test_kinds_are_for_admins(everybody: Everybody, as_: As) -> None:
    data = {"name": "terraform", "kind": "management"}
    member, admin = as_(everybody.alan), as_(everybody.anna)
    assert "Management" not in member.get("/t/alice/keys/").content.decode()
    made = member.post("/t/alice/keys/new/", data)
    assert made.context["made"].plaintext.startswith("tp_live_"), "what a member makes sends requests, whatever is sent"
    made = admin.post("/t/alice/keys/new/", data)
    assert made.status_code == 201 and made.context["made"].plaintext.startswith("tp_mgmt_")
    key = ApiKey.objects.get(kind=KeyKind.MANAGEMENT)
    for deed in ("rotate", "end", "revoke"):
        assert member.post(f"/t/alice/keys/{key.pk}/{deed}/").status_code == 404
    assert admin.post(f"/t/alice/keys/{key.pk}/rotate/", {"overlap": "1"}).context["made"].key.kind == "management"


def test_another_tenants_key_does_not_exist(everybody: Everybody, as_: As) -> None:
    theirs = make(everybody.world.eve.tenant)
    client = as_(everybody.anna)
    for deed in ("rotate", "end", "revoke"):
        assert client.post(f"/t/alice/keys/{theirs.pk}/{deed}/").status_code == 404
    key_expiry_set(actor=OLGA, now=now(), key_id=theirs.pk, expires_at=now() + timedelta(days=1))
    record = AuditRecord.objects.get(verb="key_expiry")
    assert client.post(f"/t/alice/keys/undo/{record.pk}/").status_code == 404


def test_who_may_not_sees_no_buttons(everybody: Everybody, as_: As) -> None:
    make(everybody.world.alice.tenant)
    for who in (everybody.vera, everybody.ada):
        text = as_(who).get("/t/alice/keys/").content.decode()
        assert "Create key" not in text and "Rotate" not in text and "tp_live_" in text


def test_a_suspended_tenant_makes_no_keys(everybody: Everybody, as_: As) -> None:
    Tenant.objects.filter(slug="alice").update(state="suspended", state_reason="unpaid")
    client = as_(everybody.anna)
    text = client.get("/t/alice/keys/").content.decode()
    assert "Create key" not in text and "unpaid" in text
    assert client.post("/t/alice/keys/new/", {"name": "k"}).status_code == 422


def test_keys_are_searched_filtered_and_paged(everybody: Everybody, as_: As) -> None:
    tenant, moment = everybody.world.alice.tenant, now()
    ApiKey.objects.bulk_create(
        ApiKey(tenant=tenant, name=f"key {n}", prefix=f"tp_live_{n:04}", digest=f"d{n}", created_at=moment)
        for n in range(120)
    )
    ApiKey.objects.filter(name="key 7").update(revoked_at=moment)
    client = as_(everybody.vera)
    first = client.get("/t/alice/keys/")
    assert len(first.context["rows"]) == 50 and "119 keys work" in first.content.decode()
    second = client.get(f"/t/alice/keys/?after={first.context['next']}")
    assert {key.pk for key, _ in first.context["rows"]}.isdisjoint(key.pk for key, _ in second.context["rows"])
    assert [key.name for key, _ in client.get("/t/alice/keys/?show=over").context["rows"]] == ["key 7"]
    assert [key.name for key, _ in client.get("/t/alice/keys/?q=tp_live_0042").context["rows"]] == ["key 42"]
    assert client.get("/t/alice/keys/?q=%00&after=x&show=odd").status_code == 200


def test_a_key_ends_after_its_last_day(everybody: Everybody, as_: As) -> None:
    last = (now() + timedelta(days=10)).date()
    data = {"name": "k", "kind": "gateway", "days": "day", "day": last.isoformat()}
    assert as_(everybody.anna).post("/t/alice/keys/new/", data).status_code == 201
    assert ApiKey.objects.get(name="k").expires_at.date() == last + timedelta(days=1)  # type: ignore[union-attr]
