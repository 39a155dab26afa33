"""EMAIL_URL, PORTAL_URL and the OIDC settings; e-mails through a real server, and what happens when it is away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal import env
from portal.accounts.models import Invitation
from portal.lib.errors import DomainError
from portal.lib.mail import mail_delivers, mail_send
from portal.lib.mail_url import mail_settings
from portal.people.invitations import invitation_create
from tests.cast import NOW, OLGA, tenant_make
from tests.people.mailbox import mailbox

ODD = "smtp://us%40er:p%3Aw@mail.example:2525?tls=1"


def use(settings: Any, url: str) -> None:
    for name, value in mail_settings(url, Path("/nowhere")).items():
        setattr(settings, name, value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (ODD, {"EMAIL_HOST_USER": "us@er", "EMAIL_HOST_PASSWORD": "p:w", "EMAIL_PORT": 2525, "EMAIL_USE_TLS": True}),
        ("smtps://mail.example", {"EMAIL_PORT": 465, "EMAIL_USE_SSL": True, "EMAIL_USE_TLS": False}),
        ("smtp://mail.example", {"EMAIL_PORT": 25, "EMAIL_USE_TLS": False}),
        ("", {"EMAIL_FILE_PATH": "/nowhere"}),
        ("file:/var/mails", {"EMAIL_FILE_PATH": "/var/mails"}),
        ("console:", {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}),
    ],
)
def test_a_url_says_everything(url: str, expected: dict[str, Any]) -> None:
    found = mail_settings(url, Path("/nowhere"))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"EMAIL_URL": "http://mail.example"}, "EMAIL_URL"),
        ({"EMAIL_URL": "smtp://"}, "EMAIL_URL"),
        ({"PORTAL_URL": "portal.example"}, "PORTAL_URL"),
        ({"OIDC_ISSUER": "https://sso.example"}, "OIDC_CLIENT_ID"),
        ({"OIDC_ISSUER": "sso", "OIDC_CLIENT_ID": "a", "OIDC_CLIENT_SECRET": "b"}, "OIDC_ISSUER"),
        ({"REQUIRE_MFA": "some"}, "REQUIRE_MFA"),
    ],
)
def test_a_wrong_setting_stops_the_start_by_name(given: dict[str, str], names: str) -> None:
    with pytest.raises(DomainError, match=names) as refused:
        env.read_all(given)
        env.email(given)
        env.portal_url(given)
        env.oidc(given)
    assert "b" not in given.get("OIDC_CLIENT_SECRET", "") or "'b'" not in refused.value.sentence


def test_single_sign_on_is_off_until_it_is_set_up_whole() -> None:
    assert env.oidc({}) == {}
    given = {"OIDC_ISSUER": "https://sso.example", "OIDC_CLIENT_ID": "a", "OIDC_CLIENT_SECRET": "b"}
    assert env.oidc(given)["scopes"] == ["openid", "profile", "email"]
    assert env.portal_url({"PORTAL_URL": "https://pools.example/"}) == "https://pools.example"


@pytest.mark.django_db
def test_an_invitation_arrives_through_a_mail_server(settings: Any, django_capture_on_commit_callbacks: Any) -> None:
    with mailbox() as box:
        use(settings, f"smtp://portal:secret@127.0.0.1:{box.port}")
        assert mail_delivers()
        with django_capture_on_commit_callbacks(execute=True):
            made = invitation_create(
                actor=OLGA, now=NOW, email="new@example.org", tenant=tenant_make("alice"), role="admin"
            )
    assert box.users == ["portal"] and made.link in box.messages[0].replace("=\r\n", "")


@pytest.mark.django_db
def test_a_mail_server_that_refuses_or_is_away_is_noted_beside_the_invitation(
    settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with mailbox() as box:
        box.refuses = True
        use(settings, f"smtp://127.0.0.1:{box.port}")
        with django_capture_on_commit_callbacks(execute=True):
            invitation_create(actor=OLGA, now=NOW, email="a@example.org", tenant=tenant_make("alice"), role="admin")
    row = Invitation.objects.get()
    assert "nobody here" in row.mail_error and row.sent_at is None
    assert mail_send(to=["a@example.org"], subject="x\ny", body="z").startswith("ConnectionRefusedError")
