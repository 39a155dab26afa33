"""What addresses and forms give is safe before a query sees it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from pools.models import Tier
from portal.accounts.models import User
from portal.audit.models import AuditRecord
from portal.lib.given import number_of, text_of
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
HUGE = "9" * 5000
"""More digits than int() reads."""


@pytest.mark.parametrize(
    ("text", "digits", "number"),
    [
        ("0", 18, 0),
        ("42", 18, 42),
        ("9" * 18, 18, 10**18 - 1),
        ("9" * 19, 18, None),
        ("100", 2, None),
        (HUGE, 18, None),
        ("", 18, None),
        ("-1", 18, None),
        ("+1", 18, None),
        (" 1", 18, None),
        ("1_0", 18, None),
        ("٣", 18, None),
        ("²", 18, None),
    ],
)
def test_whole_numbers(text: str, digits: int, number: int | None) -> None:
    assert number_of(text, digits) == number


def test_texts() -> None:
    given = {"q": " \x00 a\x00b  "}
    assert text_of(given, "q", 200) == "ab" and text_of(given, "q", 1) == "a" and text_of(given, "r", 9) == ""


@pytest.mark.parametrize(
    "at",
    [
        "/requests/?after={}",
        "/entitlements/jobs/?after={}",
        "/entitlements/live/?ids={}",
        "/entitlements/bulk/?ids={}",
        "/people/groups/?after={}",
        "/t/eve/keys/?after={}",
        "/t/eve/members/?after={}",
        "/alerts/deliveries/?after={}",
        "/audit/?after={}",
    ],
)
def test_a_huge_number_in_an_address_breaks_nothing(at: str, everybody: Everybody, as_: As) -> None:
    assert as_(everybody.olga).get(at.format(HUGE)).status_code in {200, 302, 400}


def test_a_reason_keeps_what_the_books_can_keep(everybody: Everybody, as_: As) -> None:
    Tier.objects.create(slug="idle", name="Idle", service_class="spot")
    answer = as_(everybody.olga).post("/tiers/idle/archive/", {"reason": " not\x00 sold ", "confirm": "idle"})
    assert answer.status_code == 302
    assert AuditRecord.objects.get(verb="tier_archive").reason == "not sold"
