"""The people page: who sees what, what an admin does there, and how it is undone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.core import mail
from django.test import Client

from portal.accounts.choices import PlatformRole
from portal.accounts.models import GroupRule, Invitation, User
from tests.portal_cast import person
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


def undo(client: Client, at: str) -> str:
    """The address behind the Undo button of the newest toast on a page."""
    text = client.get(at).content.decode()
    return re.findall(r'<form method="post" action="([^"]+)">.{0,200}?class="undo"', text, re.DOTALL)[-1]


def test_auditors_read_and_find_no_button(everybody: Everybody, as_: As) -> None:
    for at in ("/people/", f"/people/{everybody.vera.pk}/", "/people/groups/"):
        text = as_(everybody.ada).get(at).content.decode()
        main = text[text.index("<main") : text.index("</main>")]
        assert 'method="post"' not in main and "/people/invite/" not in main
        assert 'method="post"' in as_(everybody.root).get(at).content.decode()


def test_search_and_filters(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)

    def shown(query: str) -> list[str]:
        return [row.email.split("@")[0] for row in client.get(f"/people/?{query}").context["rows"]]

    assert shown("q=VERA") == ["vera"]
    assert shown("show=platform") == ["ada", "olga", "root"]
    assert shown("show=inactive") == [] and shown("q=%00") != []
    assert shown("after=olga@example.org") == ["root", "vera"]


def test_pages_of_many_people_cost_the_same(
    everybody: Everybody, as_: As, django_assert_max_num_queries: object
) -> None:
    for number in range(120):
        person(f"p{number:03}@example.org", tenant=everybody.world.eve.tenant)
    client = as_(everybody.olga)
    client.get("/people/")
    with django_assert_max_num_queries(12):  # type: ignore[operator]
        answer = client.get("/people/?q=p0")
    assert len(answer.context["rows"]) == 50 and answer.context["next"] == "p049@example.org"


def test_a_role_is_changed_and_undone(everybody: Everybody, as_: As) -> None:
    client, vera = as_(everybody.root), everybody.vera
    client.post(f"/people/{vera.pk}/role/", {"role": "operator", "reason": "helps out"})
    assert as_(vera).get("/overview/").status_code == 200
    client.post(undo(client, f"/people/{vera.pk}/"))
    assert as_(vera).get("/overview/").status_code == 403


def test_deactivation_ends_sessions_at_once_and_is_undone(everybody: Everybody, as_: As) -> None:
    client, seen = as_(everybody.root), as_(everybody.olga)
    assert seen.get("/overview/").status_code == 200
    client.post(f"/people/{everybody.olga.pk}/active/off/")
    assert seen.get("/overview/").status_code == 302
    client.post(undo(client, f"/people/{everybody.olga.pk}/"))
    assert User.objects.get(pk=everybody.olga.pk).is_active
    assert seen.get("/overview/").status_code == 302, "the old session stays ended"


def test_the_last_admin_is_told_why(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.root)
    answer = client.post(f"/people/{everybody.root.pk}/role/", {"role": "none"}, follow=True)
    assert b"last active platform admin" in answer.content
    assert User.objects.get(pk=everybody.root.pk).platform_role == PlatformRole.ADMIN


def test_factors_are_reset_only_with_the_address_typed(everybody: Everybody, as_: As) -> None:
    from allauth.mfa.models import Authenticator

    Authenticator.objects.create(user=everybody.olga, type="totp", data={"secret": "x"})
    client, at = as_(everybody.root), f"/people/{everybody.olga.pk}/factors/"
    client.post(at, {"confirm": "wrong"})
    assert Authenticator.objects.exists()
    client.post(at, {"confirm": "olga@example.org"})
    assert not Authenticator.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_invitation_is_sent_withdrawn_and_given_back(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.root)
    assert client.post("/people/invite/", {"email": "no", "platform_role": "auditor"}).status_code == 422
    form = {"email": "new@example.org", "platform_role": "auditor", "reason": ""}
    answer = client.post("/people/invite/", form)
    assert answer.status_code == 302 and mail.outbox[-1].to == ["new@example.org"]
    assert b"new@example.org" in client.get("/people/").content
    number = Invitation.objects.get().pk
    client.post(f"/people/invitations/{number}/revoke/")
    assert b"Open invitations" not in client.get("/people/").content
    client.post(f"/people/invitations/{number}/restore/")
    assert b"Open invitations" in client.get("/people/").content


def test_without_a_mail_server_the_link_is_shown_once(everybody: Everybody, as_: As, settings: object) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"  # type: ignore[attr-defined]
    form = {"email": "new@example.org", "platform_role": "auditor"}
    answer = as_(everybody.root).post("/people/invite/", form)
    link = answer.context["made"].link
    assert answer.status_code == 201 and link in answer.content.decode()
    assert link not in as_(everybody.root).get("/people/").content.decode()


def test_a_rule_is_added_removed_and_brought_back(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.root)
    wrong = client.post("/people/groups/add/", {"group": "red", "role": "t:member", "tenant": ""})
    assert wrong.status_code == 422 and b"Which tenant?" in wrong.content and b'value="red"' in wrong.content
    client.post("/people/groups/add/", {"group": "red", "role": "t:member", "tenant": "alice"})
    client.post(f"/people/groups/{GroupRule.objects.get().pk}/remove/")
    assert not GroupRule.objects.exists()
    client.post(undo(client, "/people/groups/"))
    assert GroupRule.objects.get().role == "member"
    assert client.post("/people/groups/restore/forged/").status_code == 409
