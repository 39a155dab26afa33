"""Olga invites; the address that got the e-mail accepts, once, while the link is open."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail

from portal.accounts.choices import Given, PlatformRole, TenantRole
from portal.accounts.models import Invitation, Membership, User
from portal.audit.models import AuditRecord, Source
from portal.audit.services import Actor
from portal.lib.errors import DomainError
from portal.people.invitations import (
    NewInvitation,
    invitation_accept,
    invitation_create,
    invitation_list,
    invitation_resend,
    invitation_restore,
    invitation_revoke,
)
from tests.cast import NOW, OLGA, later, tenant_make
from tests.portal_cast import person

pytestmark = pytest.mark.django_db


def invite(email: str = "new@example.org", role: str = TenantRole.MEMBER) -> NewInvitation:
    from portal.accounts.models import Tenant

    tenant = Tenant.objects.filter(slug="alice").first() or tenant_make("alice")
    return invitation_create(actor=OLGA, now=NOW, email=email, tenant=tenant, role=role)


def token_of(made: NewInvitation) -> str:
    return made.link.rstrip("/").rsplit("/", 1)[-1]


def accept(made: NewInvitation, user: User, seconds: float = 60) -> Invitation:
    return invitation_accept(token=token_of(made), now=later(seconds), user=user)


def test_the_link_goes_by_mail_and_only_its_digest_is_kept(django_capture_on_commit_callbacks: object) -> None:
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        made = invite()
    assert [message.to for message in mail.outbox] == [["new@example.org"]]
    assert made.link in mail.outbox[0].body and "Alice" in mail.outbox[0].subject
    row = Invitation.objects.get()
    assert token_of(made) not in str(vars(row)) and row.sent_at is not None
    assert "digest" not in str(AuditRecord.objects.get(verb="invitation_create").after)


def test_accepting_gives_the_role_once_and_is_recorded() -> None:
    made, user = invite(), person("new@example.org")
    accept(made, user)
    member = Membership.objects.get(user=user)
    assert (member.role, member.source) == (TenantRole.MEMBER, Given.HAND)
    assert AuditRecord.objects.filter(verb="invitation_accept", actor=user).exists()
    with pytest.raises(DomainError, match="accepted already"):
        accept(made, user)


def test_another_person_cannot_use_the_link() -> None:
    made = invite()
    with pytest.raises(DomainError, match="is for new@"):
        accept(made, person("eve@example.org"))
    assert not Membership.objects.exists()


@pytest.mark.parametrize("ending", ["expired", "revoked", "replaced", "unknown"])
def test_a_closed_link_says_why(ending: str) -> None:
    made, user = invite(), person("new@example.org")
    seconds, token = 60.0, token_of(made)
    if ending == "expired":
        seconds = timedelta(days=8).total_seconds()
    elif ending == "revoked":
        invitation_revoke(actor=OLGA, now=NOW, invitation_id=made.invitation.pk, tenant=made.invitation.tenant)
    elif ending == "replaced":
        invitation_resend(actor=OLGA, now=NOW, invitation_id=made.invitation.pk, tenant=made.invitation.tenant)
    else:
        token = "x" * 43
    with pytest.raises(DomainError) as refused:
        invitation_accept(token=token, now=later(seconds), user=user)
    assert refused.value.code == "invitation_closed" and refused.value.status in {404, 410}
    assert not Membership.objects.exists()


def test_a_withdrawal_can_be_undone_unless_the_link_was_replaced() -> None:
    made = invite()
    where = {"actor": OLGA, "now": NOW, "invitation_id": made.invitation.pk, "tenant": made.invitation.tenant}
    invitation_revoke(**where)  # type: ignore[arg-type]
    assert invitation_list(made.invitation.tenant, NOW) == []
    invitation_restore(**where)  # type: ignore[arg-type]
    assert [row.email for row in invitation_list(made.invitation.tenant, NOW)] == ["new@example.org"]
    invitation_resend(**where)  # type: ignore[arg-type]
    with pytest.raises(DomainError, match="replaced"):
        invitation_restore(**where)  # type: ignore[arg-type]


def test_nobody_is_lowered_by_an_invitation() -> None:
    made = invite(role=TenantRole.VIEWER)
    assert made.invitation.tenant is not None
    user = person("new@example.org", tenant=made.invitation.tenant, role=TenantRole.ADMIN)
    accept(made, user)
    assert Membership.objects.get(user=user).role == TenantRole.ADMIN


def test_only_platform_admins_invite_to_platform_roles() -> None:
    operator = Actor(person("olga@example.org", PlatformRole.OPERATOR), Source.PAGE)
    with pytest.raises(DomainError) as refused:
        invitation_create(actor=operator, now=NOW, email="x@example.org", platform_role=PlatformRole.ADMIN)
    assert refused.value.status == 403
    root = Actor(person("root@example.org", PlatformRole.ADMIN), Source.PAGE)
    made = invitation_create(actor=root, now=NOW, email="x@example.org", platform_role=PlatformRole.AUDITOR)
    user = person("x@example.org")
    accept(made, user)
    assert user.platform_role == PlatformRole.AUDITOR


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"email": "nobody"}, "email"), ({"role": "king"}, "role"), ({"tenant": None, "role": ""}, "platform_role")],
)
def test_bad_invitations_name_the_field(changes: dict[str, object], field: str) -> None:
    terms = {"email": "x@example.org", "tenant": tenant_make("alice"), "role": "viewer", **changes}
    with pytest.raises(DomainError) as refused:
        invitation_create(actor=OLGA, now=NOW, **terms)  # type: ignore[arg-type]
    assert list(refused.value.fields) == [field]


def test_whoever_belongs_already_is_not_invited_again() -> None:
    tenant = tenant_make("alice")
    person("a@example.org", tenant=tenant)
    with pytest.raises(DomainError, match="belongs to Alice already"):
        invitation_create(actor=OLGA, now=NOW, email="A@example.org", tenant=tenant, role="admin")
