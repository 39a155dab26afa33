"""Getting in, staying out."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client

from portal.accounts.attempts import MOST_PER_ADDRESS
from portal.accounts.choices import PlatformRole
from portal.accounts.models import User


@pytest.fixture(autouse=True)
def _olga(db: None, valkey: object) -> None:
    cache.clear()
    User.objects.create_user("olga@example.org", "correct horse battery", platform_role=PlatformRole.OPERATOR)


def enter(password: str, email: str = "olga@example.org", after: str = "", client: Client | None = None):  # type: ignore[no-untyped-def]
    return (client or Client()).post("/sign-in/", {"email": email, "password": password, "next": after})


def test_the_right_password_opens_the_page_that_was_wanted() -> None:
    answer = enter("correct horse battery", "OLGA@example.org", "/tiers/")
    assert answer.status_code == 302 and answer["Location"] == "/tiers/"


@pytest.mark.parametrize("after", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_no_redirect_elsewhere(after: str) -> None:
    assert enter("correct horse battery", after=after)["Location"] == "/"


def test_wrong_password_and_unknown_address_get_the_same_sentence() -> None:
    one, two = enter("wrong"), enter("wrong", "nobody@example.org")
    assert one.status_code == two.status_code == 422
    sentence = b"That e-mail address and password do not belong together."
    assert sentence in one.content and sentence in two.content


def test_too_many_failures_close_the_address_even_for_the_right_password() -> None:
    for _ in range(MOST_PER_ADDRESS):
        assert enter("wrong").status_code == 422
    answer = enter("correct horse battery")
    assert answer.status_code == 429 and answer["Retry-After"] == "300"
    assert b"Wait five minutes" in answer.content


def test_forms_need_their_token() -> None:
    answer = enter("correct horse battery", client=Client(enforce_csrf_checks=True))
    assert answer.status_code == 403 and b"Reload the page" in answer.content


def test_sign_out_ends_the_session() -> None:
    client = Client()
    enter("correct horse battery", client=client)
    assert client.get("/overview/").status_code == 200
    client.post("/sign-out/")
    assert client.get("/overview/").status_code == 302
