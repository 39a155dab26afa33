"""Forgotten passwords, second factors, invitations: the whole way, by the pages."""

from __future__ import annotations

import re
import time

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from django.core.cache import cache
from django.test import Client

from portal.accounts.choices import PlatformRole, TenantRole
from portal.accounts.models import Membership, User
from portal.audit.models import AuditRecord
from portal.people.invitations import invitation_create
from tests.cast import OLGA, tenant_make
from tests.portal_cast import PASSWORD, person
from tests.web.test_sign_in import enter

OLGA_MAIL, NEW = "olga@example.org", "another horse battery"


@pytest.fixture(autouse=True)
def olga(db: None, valkey: object) -> User:
    cache.clear()
    return User.objects.create_user(OLGA_MAIL, PASSWORD, platform_role=PlatformRole.OPERATOR)


def code(secret: str, step: int = 0) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + step))


def link_in_mail() -> str:
    found = re.search(r"https?://[^/]+(/\S+)", mail.outbox[-1].body)
    assert found is not None, mail.outbox[-1].body
    return found[1]


def with_app(client: Client) -> str:
    """Adds an authenticator app the way a person does; its secret."""
    assert client.get("/account/app/")["Location"].startswith("/account/confirm/"), "asks for the password again"
    client.post("/account/confirm/", {"password": PASSWORD, "next": "/account/app/"})
    secret = client.get("/account/app/").context["form"].secret
    answer = client.post("/account/app/", {"code": code(secret)})
    assert answer.status_code == 302 and answer["Location"] == "/account/codes/"
    return str(secret)


def test_a_forgotten_password_is_replaced_by_a_link_that_works_once() -> None:
    other = Client()
    enter(PASSWORD, client=other)
    client = Client()
    assert client.post("/forgot/", {"email": OLGA_MAIL})["Location"] == "/forgot/sent/"
    at = link_in_mail()
    form = client.get(at, follow=True)
    assert client.post(form.context["action_url"], {"password1": "short", "password2": "short"}).status_code == 422
    answer = client.post(form.context["action_url"], {"password1": NEW, "password2": NEW})
    assert answer["Location"] == "/forgot/done/"
    assert enter(NEW).status_code == 302 and enter(PASSWORD).status_code == 422
    assert other.get("/overview/").status_code == 302, "sessions with the old password have ended"
    assert b"This link does not work" in Client().get(at, follow=True).content
    assert AuditRecord.objects.filter(verb="password_reset", object_label=OLGA_MAIL).exists()


def test_nobody_learns_which_addresses_are_known() -> None:
    answers = [Client().post("/forgot/", {"email": email}) for email in (OLGA_MAIL, "nobody@example.org")]
    assert {(answer.status_code, answer["Location"]) for answer in answers} == {(302, "/forgot/sent/")}
    assert [message.to for message in mail.outbox] == [[OLGA_MAIL]], "a stranger's address gets no mail from us"


def test_too_many_resets_are_a_page_with_429() -> None:
    answers = [Client().post("/forgot/", {"email": OLGA_MAIL}) for _ in range(6)]
    assert answers[-1].status_code == 429 and answers[-1]["Retry-After"] == "300"
    assert b"Too many requests" in answers[-1].content


def test_the_app_is_asked_for_at_sign_in_and_a_recovery_code_works_once() -> None:
    client = Client()
    enter(PASSWORD, client=client)
    secret = with_app(client)
    codes = client.get("/account/codes/").context["unused_codes"]
    fresh = Client()
    assert enter(PASSWORD, after="/tiers/", client=fresh)["Location"] == "/sign-in/second/"
    assert fresh.get("/overview/").status_code == 302, "not in yet"
    assert fresh.post("/sign-in/second/", {"code": "000000"}).status_code == 422
    assert fresh.post("/sign-in/second/", {"code": code(secret, 1)})["Location"] == "/tiers/"
    assert fresh.get("/overview/").status_code == 200
    for expected in (302, 422):
        again = Client()
        enter(PASSWORD, client=again)
        assert again.post("/sign-in/second/", {"code": codes[0]}).status_code == expected


def test_guessing_codes_is_limited() -> None:
    client = Client()
    enter(PASSWORD, client=client)
    secret = with_app(client)
    fresh = Client()
    enter(PASSWORD, client=fresh)
    for _ in range(6):
        fresh.post("/sign-in/second/", {"code": "000000"})
    assert fresh.post("/sign-in/second/", {"code": code(secret, 1)}).status_code == 422, "even the right one"


def test_secrets_lie_encrypted() -> None:
    from allauth.mfa.models import Authenticator

    client = Client()
    enter(PASSWORD, client=client)
    secret = with_app(client)
    assert secret not in str(list(Authenticator.objects.values_list("data", flat=True)))


@pytest.mark.parametrize(("required", "goes_on"), [("none", True), ("operators", False), ("all", False)])
def test_who_must_have_a_second_factor_gets_nowhere_without(required: str, goes_on: bool, settings: object) -> None:
    settings.REQUIRE_MFA = required  # type: ignore[attr-defined]
    client = Client()
    enter(PASSWORD, client=client)
    answer = client.get("/tiers/")
    assert answer.status_code == (200 if goes_on else 302)
    if not goes_on:
        assert answer["Location"] == "/account/"
        assert b"needs a second factor" in client.get("/account/").content
        assert client.get("/tiers/", HTTP_HX_REQUEST="true").status_code == 403
        with_app(client)
        assert client.get("/tiers/").status_code == 200
        assert client.post("/account/app/remove/").status_code == 422, "the last one stays"


def test_changing_the_password_ends_other_sessions() -> None:
    here, there = Client(), Client()
    enter(PASSWORD, client=here)
    enter(PASSWORD, client=there)
    form = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
    assert here.post("/account/password/", {**form, "oldpassword": "wrong"}).status_code == 422
    assert here.post("/account/password/", form)["Location"] == "/account/"
    assert here.get("/overview/").status_code == 200
    assert there.get("/overview/").status_code == 302


def test_signing_out_everywhere_else() -> None:
    here, there = Client(), Client()
    for client in (here, there):
        enter(PASSWORD, client=client)
        client.get("/overview/")
    assert len(here.get("/account/").context["sessions"]) == 2
    here.post("/account/end-sessions/")
    assert here.get("/overview/").status_code == 200 and there.get("/overview/").status_code == 302


def test_an_address_changes_when_its_link_is_opened(olga: User) -> None:
    client = Client()
    enter(PASSWORD, client=client)
    client.post("/account/confirm/", {"password": PASSWORD})
    person("taken@example.org")
    client.post("/account/email/", {"email": "taken@example.org", "action_add": "1"})
    assert client.post(link_in_mail()).status_code == 409, "it is somebody else's"
    assert client.post("/account/email/", {"email": "New@example.org", "action_add": "1"}).status_code == 302
    olga.refresh_from_db()
    assert olga.email == OLGA_MAIL, "not yet"
    client.post(link_in_mail())
    olga.refresh_from_db()
    assert olga.email == "new@example.org"
    assert enter(PASSWORD, "new@example.org").status_code == 302 and enter(PASSWORD).status_code == 422


def test_an_invited_stranger_makes_an_account_and_is_in() -> None:
    from portal.lib.clock import now

    tenant = tenant_make("alice")
    made = invitation_create(actor=OLGA, now=now(), email="new@example.org", tenant=tenant, role=TenantRole.MEMBER)
    at, client = "/" + made.link.split("/", 3)[3], Client()
    assert b"Alice" in client.get(at).content
    form = {"name": "Nora", "password": NEW, "again": NEW}
    assert client.post(at, {**form, "again": "x"}).status_code == 422
    assert client.post(at, {**form, "password": "123", "again": "123"}).status_code == 422
    assert client.post(at, form)["Location"] == "/t/alice/"
    assert client.get("/t/alice/").status_code == 200
    assert Membership.objects.get(user__email="new@example.org").role == TenantRole.MEMBER
    assert Client().get(at).status_code == 410


def test_nobody_signs_up_alone() -> None:
    assert Client().get("/account/signup/").status_code == 404
    assert Client().post("/sign-in/passkey/", {"credential": "{}"})["Location"] == "/sign-in/"
