"""Sina comes by single sign-on: her roles follow her groups, and nothing but a right token lets anybody in."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core import mail
from django.core.cache import cache
from django.test import Client

from portal.accounts.choices import Given, PlatformRole, TenantRole
from portal.accounts.models import GroupRule, Membership, Tenant, User
from portal.audit.models import AuditRecord
from portal.people.sso.claims import groups_of
from tests.cast import tenant_make
from tests.people.issuer import CLIENT_ID, CLIENT_SECRET, Issuer, issuer
from tests.portal_cast import PASSWORD

SINA = "sina@example.org"


@pytest.fixture
def idp(db: None, valkey: object, settings: Any) -> Iterator[Issuer]:
    cache.clear()
    with issuer() as made:
        settings.OIDC = {
            "issuer": made.address,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "name": "Example",
            "scopes": ["openid", "email"],
            "group_claim": "groups",
            "trust_email": False,
        }
        made.person = {"sub": "s-1", "email": SINA, "email_verified": True, "name": "Sina Ö", "groups": ["red"]}
        yield made


@pytest.fixture
def alice(db: None) -> Tenant:
    return tenant_make("alice")


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def visit(address: str) -> str:
    """What a browser does at the issuer: it is sent back; where to."""
    try:
        urllib.request.build_opener(_Stay).open(address, timeout=10)
    except urllib.error.HTTPError as answer:
        assert answer.code == 302
        return str(answer.headers["Location"])
    raise AssertionError("the issuer did not send the browser back")


def come(client: Client | None = None, after: str = "") -> Any:
    """The whole way: our door, the issuer, back."""
    client = client or Client()
    begun = client.get("/sign-in/sso/", {"next": after} if after else {})
    assert begun.status_code == 302, begun.content.decode()
    return client.get(visit(begun["Location"]).removeprefix("http://testserver"))


def rule(group: str, tenant: Tenant | None = None, role: str = "", platform: str = "none") -> GroupRule:
    return GroupRule.objects.create(group=group, tenant=tenant, role=role, platform_role=platform)


def roles() -> dict[str, tuple[str, str]]:
    return {row.tenant.slug: (row.role, row.source) for row in Membership.objects.filter(user__email=SINA)}


def test_a_group_with_a_rule_opens_the_door_and_gives_the_role(idp: Issuer, alice: Tenant) -> None:
    rule("red", alice, TenantRole.MEMBER)
    client = Client()
    answer = come(client, after="/t/alice/usage/")
    assert answer.status_code == 302 and answer["Location"] == "/t/alice/usage/"
    assert roles() == {"alice": (TenantRole.MEMBER, Given.SSO)}
    user = User.objects.get(email=SINA)
    assert user.first_name == "Sina Ö" and not user.has_usable_password()
    assert client.get("/t/alice/").status_code == 200
    assert set(AuditRecord.objects.filter(object_label=SINA).values_list("verb", flat=True)) == {
        "user_create",
        "membership_set",
    }


def test_roles_follow_the_groups_at_the_next_sign_in(idp: Issuer, alice: Tenant) -> None:
    bob = tenant_make("bob")
    rule("red", alice, TenantRole.MEMBER)
    rule("blue", bob, TenantRole.VIEWER)
    rule("lead", alice, TenantRole.ADMIN)
    come()
    idp.person["groups"] = ["red", "blue", "lead"]
    come()
    assert roles() == {"alice": (TenantRole.ADMIN, Given.SSO), "bob": (TenantRole.VIEWER, Given.SSO)}
    idp.person["groups"] = ["blue"]
    come()
    assert roles() == {"bob": (TenantRole.VIEWER, Given.SSO)}, "what the group gave is gone with it"


def test_what_a_person_gave_is_never_touched(idp: Issuer, alice: Tenant) -> None:
    user = User.objects.create_user(SINA, "x" * 20, platform_role=PlatformRole.AUDITOR)
    Membership.objects.create(tenant=alice, user=user, role=TenantRole.ADMIN)
    rule("red", alice, TenantRole.VIEWER)
    rule("red", platform=PlatformRole.ADMIN)
    come()
    idp.person["groups"] = []
    come()
    user.refresh_from_db()
    assert roles() == {"alice": (TenantRole.ADMIN, Given.HAND)} and user.platform_role == PlatformRole.AUDITOR


def test_a_platform_role_comes_and_goes_with_the_group(idp: Issuer, alice: Tenant) -> None:
    rule("ops", platform=PlatformRole.OPERATOR)
    rule("red", alice, TenantRole.VIEWER)
    idp.person["groups"] = ["ops", "red"]
    client = Client()
    come(client)
    assert client.get("/overview/").status_code == 200
    idp.person["groups"] = ["red"]
    come()
    assert client.get("/overview/").status_code == 403, "at once, in every session"
    assert User.objects.get(email=SINA).platform_role == PlatformRole.NONE


def test_who_has_no_group_with_a_rule_is_refused_with_a_sentence(idp: Issuer, alice: Tenant) -> None:
    rule("blue", alice, TenantRole.MEMBER)
    answer = come()
    assert answer.status_code == 403 and b"says you are in red; nothing here is open to that" in answer.content
    assert not User.objects.exists()


def test_who_lost_the_last_group_is_refused(idp: Issuer, alice: Tenant) -> None:
    rule("red", alice, TenantRole.MEMBER)
    come()
    idp.person["groups"] = []
    client = Client()
    answer = come(client)
    assert answer.status_code == 403 and b"names no group of yours" in answer.content
    assert roles() == {} and client.get("/account/").status_code == 302


def test_a_deactivated_person_stays_out(idp: Issuer, alice: Tenant) -> None:
    rule("red", alice, TenantRole.MEMBER)
    come()
    User.objects.filter(email=SINA).update(is_active=False)
    assert come().status_code == 403


def test_an_account_is_joined_only_by_a_verified_address(idp: Issuer, alice: Tenant, settings: Any) -> None:
    user = User.objects.create_user(SINA, "x" * 20)
    rule("red", alice, TenantRole.MEMBER)
    idp.person["email_verified"] = False
    assert come().status_code == 403 and roles() == {}
    settings.OIDC = {**settings.OIDC, "trust_email": True}
    assert come().status_code == 302
    assert Membership.objects.get().user == user


@pytest.mark.parametrize(
    "twist",
    [
        {"nonce": "another"},
        {"iss": "https://elsewhere.example"},
        {"aud": "somebody-else"},
        {"aud": [CLIENT_ID, "other"]},
        {"exp": int(time.time()) - 3600},
    ],
    ids=["nonce", "issuer", "audience", "audiences", "expired"],
)
def test_a_token_with_one_wrong_claim_is_refused(twist: dict[str, Any], idp: Issuer, alice: Tenant) -> None:
    rule("red", alice, TenantRole.MEMBER)
    idp.twist = twist
    answer = come()
    assert answer.status_code == 403 and b"could not be trusted" in answer.content
    assert not User.objects.exists()


def test_a_token_of_another_key_or_person_is_refused(idp: Issuer, alice: Tenant) -> None:
    rule("red", alice, TenantRole.MEMBER)
    idp.sign_with = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert come().status_code == 403
    idp.sign_with, idp.userinfo_sub = None, "s-2"
    assert come().status_code == 403
    assert not User.objects.exists()


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(idp: Issuer, alice: Tenant) -> None:
    rule("red", alice, TenantRole.MEMBER)
    begun = Client().get("/sign-in/sso/")
    back = visit(begun["Location"]).removeprefix("http://testserver")
    answer = Client().get(back)
    assert answer.status_code == 403 and b"begun in another browser" in answer.content
    client = Client()
    client.get("/sign-in/sso/")
    assert client.get("/sign-in/sso/back/?code=x&state=wrong").status_code == 403
    assert not User.objects.exists()


def test_a_password_does_not_outlive_the_groups(idp: Issuer, alice: Tenant) -> None:
    user = User.objects.create_user(SINA, PASSWORD)
    rule("red", alice, TenantRole.MEMBER)
    assert Client().post("/sign-in/", {"email": SINA, "password": PASSWORD})["Location"] == "/", (
        "nothing from groups yet"
    )
    come()
    client = Client()
    answer = client.post("/sign-in/", {"email": SINA, "password": PASSWORD}, follow=True)
    assert b"Your roles come with Example" in answer.content and client.get("/account/").status_code == 302
    Membership.objects.filter(user=user).update(source=Given.HAND)
    assert client.post("/sign-in/", {"email": SINA, "password": PASSWORD})["Location"] == "/"


def test_who_has_no_password_cannot_make_one_beside_single_sign_on(idp: Issuer, alice: Tenant) -> None:
    rule("red", alice, TenantRole.MEMBER)
    client = Client()
    come(client)
    assert client.get("/account/password/first/")["Location"] == "/account/"
    Client().post("/forgot/", {"email": SINA})
    assert mail.outbox == []
    assert client.session.get_expiry_age() <= 12 * 3600


def test_an_answer_works_once(idp: Issuer, alice: Tenant) -> None:
    rule("red", alice, TenantRole.MEMBER)
    client = Client()
    back = visit(client.get("/sign-in/sso/")["Location"]).removeprefix("http://testserver")
    assert client.get(back).status_code == 302
    client.post("/sign-out/")
    assert client.get(back).status_code == 403


def test_another_site_cannot_begin_a_sign_in(idp: Issuer) -> None:
    answer = Client().get("/sign-in/sso/", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer["Location"] == "/sign-in/"


def test_an_issuer_that_is_away_is_a_page_that_says_so(idp: Issuer, settings: Any) -> None:
    settings.OIDC = {**settings.OIDC, "issuer": "http://127.0.0.1:9"}
    answer = Client().get("/sign-in/sso/")
    assert answer.status_code == 503 and b"does not answer as it should" in answer.content
    assert b"Sign in with Example" in Client().get("/sign-in/").content


@pytest.mark.parametrize(
    ("claims", "path", "expected"),
    [
        ({"groups": ["a", "b"]}, "groups", {"a", "b"}),
        ({"groups": "a"}, "groups", {"a"}),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", {"a"}),
        ({"https://x.example/groups": ["a"]}, "https://x.example/groups", {"a"}),
        ({"groups": [1, None, "a"]}, "groups", {"a"}),
        ({"groups": {"a": 1}}, "groups", set()),
        ({}, "groups", set()),
    ],
)
def test_groups_are_read_from_any_shape(claims: dict[str, Any], path: str, expected: set[str]) -> None:
    assert groups_of(claims, path) == expected
