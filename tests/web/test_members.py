"""The people of a tenant: invited, given roles, removed; the last admin stays; other tenants do not exist."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from pools.services.tenants import membership_set, membership_undo
from portal.accounts.models import Invitation, Membership, User
from portal.audit.models import AuditRecord
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.people.invitations import invitation_create
from tests.cast import OLGA
from tests.portal_cast import person
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


def said(answer: Any) -> str:
    return str(list(get_messages(answer.wsgi_request))[-1])


def undo_of(answer: Any) -> str:
    return str(list(get_messages(answer.wsgi_request))[-1].extra_tags).removeprefix("undo:")


def role_of(user: User, slug: str = "alice") -> str:
    return Membership.objects.filter(user=user, tenant__slug=slug).values_list("role", flat=True).first() or ""


def test_everybody_sees_who_is_here_and_only_admins_what_to_do(everybody: Everybody, as_: As) -> None:
    for who, may in ((everybody.vera, False), (everybody.ada, False), (everybody.anna, True), (everybody.olga, True)):
        text = as_(who).get("/t/alice/members/").content.decode()
        assert "anna@example.org" in text and "3 people belong to Alice, 1 of them admin" in text
        assert ("Send the invitation" in text) is may and (">Remove" in text) is may
        assert "eda@example.org" not in text
    assert as_(everybody.eda).get("/t/alice/members/").status_code == 404


def test_an_admin_invites_withdraws_and_sends_again(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.anna)
    answer = client.post("/t/alice/members/invite/", {"email": "New@Example.org", "role": "member"})
    assert answer.status_code == 302 and "new@example.org is invited" in said(answer)
    row = Invitation.objects.get()
    assert (row.tenant, row.role, row.created_by) == (everybody.world.alice.tenant, "member", everybody.anna)
    assert "1 invitation open" in client.get("/t/alice/members/").content.decode()
    withdrawn = client.post(undo_of(answer))
    row.refresh_from_db()
    assert row.revoked_at is not None
    client.post(undo_of(withdrawn))
    row.refresh_from_db()
    assert row.revoked_at is None
    assert client.post(f"/t/alice/invitations/{row.pk}/resend/").status_code == 302
    row.refresh_from_db()
    assert row.revoked_at is not None and Invitation.objects.filter(revoked_at__isnull=True).count() == 1
    assert AuditRecord.objects.filter(verb="invitation_create", actor=everybody.anna).count() == 2


def test_a_bad_invitation_keeps_what_was_typed(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.anna)
    for data, words in (
        ({"email": "nobody", "role": "member"}, "valid email"),
        ({"email": "x@example.org", "role": "owner"}, "valid choice"),
        ({"email": "vera@example.org", "role": "member"}, "belongs to Alice already"),
    ):
        answer = client.post("/t/alice/members/invite/", data)
        text = answer.content.decode()
        assert answer.status_code == 422 and words in text and data["email"] in text
    assert not Invitation.objects.exists()


def test_the_link_is_shown_where_no_mail_leaves(everybody: Everybody, as_: As, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.people.invitations.mail_delivers", lambda: False)
    answer = as_(everybody.anna).post("/t/alice/members/invite/", {"email": "new@example.org", "role": "viewer"})
    assert answer.status_code == 201 and "no-store" in answer["Cache-Control"]
    assert answer.context["made"].link in answer.content.decode()


def test_a_role_is_changed_and_changed_back(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.anna)
    answer = client.post(f"/t/alice/members/{everybody.vera.pk}/role/", {"role": "admin"})
    assert answer.status_code == 302 and "tenant admin from now on" in said(answer)
    assert role_of(everybody.vera) == "admin"
    client.post(undo_of(answer))
    assert role_of(everybody.vera) == "viewer"
    bad = client.post(f"/t/alice/members/{everybody.vera.pk}/role/", {"role": "owner"})
    assert "The role is one of" in said(bad) and role_of(everybody.vera) == "viewer"


def test_somebody_is_removed_and_brought_back(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.anna)
    answer = client.post(f"/t/alice/members/{everybody.alan.pk}/remove/")
    assert role_of(everybody.alan) == "" and "no longer belongs to Alice" in said(answer)
    assert as_(everybody.alan).get("/t/alice/").status_code == 404
    client.post(undo_of(answer))
    assert role_of(everybody.alan) == "member"


def test_the_last_admin_stays(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.anna)
    for answer in (
        client.post(f"/t/alice/members/{everybody.anna.pk}/role/", {"role": "viewer"}),
        client.post(f"/t/alice/members/{everybody.anna.pk}/remove/"),
    ):
        assert said(answer) == "A tenant keeps at least one admin; make somebody else admin first."
    assert role_of(everybody.anna) == "admin"
    client.post(f"/t/alice/members/{everybody.vera.pk}/role/", {"role": "admin"})
    left = client.post(f"/t/alice/members/{everybody.anna.pk}/remove/")
    assert left["Location"] == "/" and role_of(everybody.anna) == ""


def test_nobody_of_another_tenant_can_be_reached(everybody: Everybody, as_: As) -> None:
    client, eda = as_(everybody.anna), everybody.eda
    assert client.post(f"/t/alice/members/{eda.pk}/role/", {"role": "admin"}).status_code == 404
    assert client.post(f"/t/alice/members/{eda.pk}/remove/").status_code == 404
    theirs = invitation_create(
        actor=OLGA, now=now(), email="x@example.org", tenant=everybody.world.eve.tenant, role="member"
    )
    number = theirs.invitation.pk
    for deed in ("resend", "revoke", "restore"):
        assert client.post(f"/t/alice/invitations/{number}/{deed}/").status_code == 404
    record = AuditRecord.objects.filter(verb="invitation_create").latest("pk")
    assert client.post(f"/t/alice/members/undo/{record.pk}/").status_code == 404
    assert role_of(eda, "eve") == "admin"


def test_an_undo_is_for_the_latest_change_of_the_last_day(everybody: Everybody) -> None:
    tenant, moment = everybody.world.alice.tenant, now()
    new = person("new@example.org")
    membership_set(actor=OLGA, now=moment, tenant=tenant, user=new, role="viewer")
    membership_set(actor=OLGA, now=moment, tenant=tenant, user=new, role="member")
    first, second = AuditRecord.objects.filter(verb="membership_set", object_id=str(new.pk)).order_by("pk")
    with pytest.raises(DomainError, match="changed again since"):
        membership_undo(actor=OLGA, now=moment, tenant=tenant, record_id=first.pk)
    with pytest.raises(DomainError, match="more than a day ago"):
        membership_undo(actor=OLGA, now=moment + timedelta(days=2), tenant=tenant, record_id=second.pk)
    assert membership_undo(actor=OLGA, now=moment, tenant=tenant, record_id=second.pk)[1] == "viewer"


def test_many_people_are_searched_and_paged(everybody: Everybody, as_: As) -> None:
    tenant = everybody.world.alice.tenant
    users = [User(email=f"p{number:03}@example.org", first_name="فلان") for number in range(60)]
    User.objects.bulk_create(users)
    Membership.objects.bulk_create([Membership(tenant=tenant, user=user) for user in users])
    client = as_(everybody.vera)
    answer = client.get("/t/alice/members/")
    assert len(answer.context["rows"]) == 50 and answer.context["next"]
    assert [row.user.email for row in client.get("/t/alice/members/?q=p059").context["rows"]] == ["p059@example.org"]
    assert "Nobody matches" in client.get("/t/alice/members/?q=%00none").content.decode()
