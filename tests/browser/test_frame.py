"""The frame and the door in a real Chromium: search by keyboard, second factors, a passkey, toasts, error pages."""

from __future__ import annotations

import time
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Page, expect

from portal.accounts.choices import PlatformRole
from portal.accounts.models import User
from portal.people.roles import user_active_set
from tests import cast
from tests.browser.conftest import Opens, Site
from tests.browser.test_look import serious
from tests.portal_cast import PASSWORD, person

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OLGA = "olga@example.org"


def code(secret: str, step: int = 0) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + step))


def enter(page: Page, address: str, email: str = OLGA, after: str = "/tiers/") -> None:
    page.goto(f"{address}/sign-in/?next={after}")
    page.fill("#id_email", email)
    page.fill("#id_password", PASSWORD)
    page.keyboard.press("Enter")


def confirm_password(page: Page) -> None:
    page.fill("#id_password", PASSWORD)
    page.click("main button[type=submit]")


def test_search_by_keyboard(site: Site, opens: Opens) -> None:
    page = opens(OLGA, "/tiers/")
    box = page.locator("#finder-input")
    page.keyboard.press("/")
    expect(box).to_be_focused()
    page.keyboard.type("chat")
    expect(page.locator("#finder-hits a.hit").first).to_be_visible()
    expect(box).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowDown")
    first = page.locator("#finder-hits a.hit").first
    expect(first).to_have_attribute("aria-selected", "true")
    assert box.get_attribute("aria-activedescendant") == first.get_attribute("id")
    assert serious(page) == [], "the open list, too"
    page.keyboard.press("ArrowUp")
    expect(page.locator("#finder-hits a.hit").last).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#finder-hits")).to_be_hidden()
    expect(box).to_have_value("chat")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.address}/pools/chat-8b/")
    page.keyboard.press("/")
    page.keyboard.type("nothing like it")
    expect(page.locator(".hit-none")).to_be_visible()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.address}/search/?q=nothing+like+it")
    assert site.complaints == []


def test_search_on_a_small_screen(site: Site, opens: Opens) -> None:
    page = opens("eda@example.org", "/t/eve/", width=360)
    page.keyboard.press("/")
    expect(page.locator("#finder-input")).to_be_focused()
    page.keyboard.type("chat")
    expect(page.locator("#finder-hits a.hit").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    page.locator("#finder-hits a.hit").first.click()
    page.wait_for_url(f"{site.address}/t/eve/?pool=chat-8b")


def test_sign_in_with_password_and_app(site: Site, opens: Opens) -> None:
    page = opens(OLGA, "/account/")
    page.click("text=Add an app")
    confirm_password(page)
    secret = page.locator("main code").inner_text()
    assert serious(page) == []
    page.fill("#id_code", code(secret))
    page.click("main button[type=submit]")
    page.wait_for_url(f"{site.address}/account/codes/")
    assert len(page.locator("#recovery-codes").inner_text().split()) == 10
    page.context.clear_cookies()
    enter(page, site.address)
    page.wait_for_url(f"{site.address}/sign-in/second/")
    assert serious(page) == []
    page.fill("#id_code", "123")
    page.keyboard.press("Enter")
    expect(page.locator(".errors")).to_be_visible()
    page.fill("#id_code", code(secret, 1))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.address}/tiers/")


def authenticator(page: Page) -> Any:
    """Chromium's own virtual one: it agrees at once, as a finger would."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return devtools


def test_a_passkey_signs_in_alone_and_as_second_factor(site: Site, opens: Opens) -> None:
    address = site.address = site.address.replace("127.0.0.1", "localhost")  # passkeys belong to names
    page = opens(OLGA, "/account/")
    authenticator(page)
    page.click("text=Add a passkey")
    confirm_password(page)
    assert serious(page) == []
    page.fill("#id_name", "Laptop")
    page.check("#id_passwordless")
    page.click("[data-passkey-go]")
    page.wait_for_url(f"{address}/account/codes/")
    page.goto(f"{address}/account/")
    expect(page.locator("main")).to_contain_text("Laptop passkey, signs in alone")
    page.context.clear_cookies()
    page.goto(f"{address}/sign-in/?next=/tiers/")
    page.click("[data-passkey-go]")
    page.wait_for_url(f"{address}/tiers/")
    page.context.clear_cookies()
    enter(page, address)
    page.wait_for_url(f"{address}/sign-in/second/")
    page.click("[data-passkey-go]")
    page.wait_for_url(f"{address}/tiers/")
    assert site.complaints == []


def test_without_a_fitting_passkey_a_sentence_says_so(site: Site, opens: Opens) -> None:
    site.address = site.address.replace("127.0.0.1", "localhost")
    page = opens(OLGA, "/tiers/")
    authenticator(page)
    page.context.clear_cookies()
    page.goto(f"{site.address}/sign-in/")
    page.click("[data-passkey-go]")
    expect(page.locator("[data-passkey-says]")).to_be_visible()


def test_undo_is_reached_and_pressed_by_keyboard(site: Site, opens: Opens) -> None:
    root = person("root@example.org", PlatformRole.ADMIN)
    olga = User.objects.get(email=OLGA)
    page = opens(root.email, f"/people/{olga.pk}/")
    page.select_option("#id_role", "auditor")
    page.click("text=Keep this role")
    toast = page.locator(".toast-note")
    expect(toast).to_contain_text("Auditor, from now on.")
    assert serious(page) == []
    page.keyboard.press("u")
    expect(page.locator(".toast-note .undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".toast-note")).to_contain_text("Operator, from now on.")
    assert User.objects.get(pk=olga.pk).platform_role == PlatformRole.OPERATOR
    page.keyboard.press("u")
    page.keyboard.press("Escape")
    expect(page.locator(".toast-note")).to_have_count(0)
    expect(page.locator("main")).to_be_focused()


def test_toasts_without_undo_go_but_not_while_held(site: Site, opens: Opens) -> None:
    page = opens(OLGA, "/account/")
    page.clock.install()
    page.fill("#id_name", "Olga")
    page.click("main button:has-text('Keep')")
    toast = page.locator(".toast-note")
    expect(toast).to_be_visible()
    toast.hover()
    page.clock.run_for(20_000)
    expect(toast).to_be_visible()
    page.mouse.move(5, 5)
    page.clock.run_for(9_000)
    expect(toast).to_have_count(0)


def test_a_deactivated_person_is_out_at_once(site: Site, opens: Opens) -> None:
    page = opens(OLGA, "/pools/chat-8b/")
    site.publish()
    expect(page.locator("#age")).to_have_attribute("data-state", "live")
    user_active_set(actor=cast.OLGA, now=cast.NOW, user_id=User.objects.get(email=OLGA).pk, active=False)
    expect(page.locator("#banner")).to_contain_text("You may no longer see this live view", timeout=10_000)
    page.goto(f"{site.address}/pools/")
    page.wait_for_url(f"{site.address}/sign-in/**")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_error_pages_and_the_door_are_accessible(dark: bool, site: Site, opens: Opens) -> None:
    page = opens("eda@example.org", "/t/eve/", dark=dark)
    troubles = []
    for path in ("/nowhere/", "/overview/", "/t/alice/", "/invitation/x/", "/search/?q=%00", "/account/password/"):
        page.goto(site.address + path)
        page.set_viewport_size({"width": 360, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        troubles += [f"{path} is {wide} px too wide"] if wide > 0 else []
        page.set_viewport_size({"width": 1280, "height": 900})
        troubles += [f"{path} {trouble}" for trouble in serious(page)]
    page.context.clear_cookies()
    for path in ("/sign-in/", "/forgot/", "/forgot/sent/", "/forgot/1-x/", "/invitation/x/"):
        page.goto(site.address + path)
        troubles += [f"{path} {trouble}" for trouble in serious(page)]
    assert troubles == []
