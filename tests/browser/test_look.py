"""Every page: nothing overflows at 360 px, axe finds nothing serious, nothing is asked from elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opens, Site
from tests.web import pages
from tests.web.test_numbers import CASES, GAP

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OPERATOR, TENANT = list(pages.OPERATOR.values()), list(pages.TENANT.values())


COLOURS = ["color-contrast", "link-in-text-block"]


def serious(page: Page, rules: list[str] | None = None) -> list[str]:
    """Serious and critical violations, each with the first element it names; ``rules``: of these only."""
    options = {"runOnly": {"type": "rule", "values": rules}} if rules else None
    found: dict[str, Any] = Axe().run(page, options=options).response
    return [
        f"{item['id']}: {item['nodes'][0]['html'][:160]}"
        for item in found["violations"]
        if item["impact"] in {"serious", "critical"}
    ]


@pytest.mark.timeout(400)  # on a busy machine more than a minute
@pytest.mark.parametrize(
    ("email", "paths"),
    [("olga@example.org", OPERATOR[::2]), ("olga@example.org", OPERATOR[1::2]), ("eda@example.org", TENANT)],
    ids=["operator-even", "operator-odd", "tenant"],
)
def test_every_page(email: str, paths: list[str], site: Site, opens: Opens) -> None:
    page = opens(email, paths[0])
    root = page.locator("html")
    troubles = []
    for path in paths:
        page.set_viewport_size({"width": 360, "height": 800})
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.goto(site.address + path)
        if page.locator("[id^=chart-]").count():
            page.wait_for_selector(".chart.waiting", state="detached")
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        troubles += [f"{path} is {wide} px too wide"] if wide > 0 else []
        page.set_viewport_size({"width": 1280, "height": 900})
        expect(root).to_have_attribute("data-bs-theme", "light")
        troubles += [f"{path} {trouble}" for trouble in serious(page)]
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        expect(root).to_have_attribute("data-bs-theme", "dark")
        troubles += [f"{path} in dark {trouble}" for trouble in serious(page, COLOURS)]
    assert troubles == []
    assert site.complaints == []


def test_sign_in_page_and_errors(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/tiers/")
    page.goto(site.address + "/nowhere/")
    expect(page.locator("h1")).to_have_text("There is nothing here")
    assert serious(page) == []
    page.context.clear_cookies()
    page.goto(site.address + "/sign-in/")
    assert serious(page) == []


def test_theme_switch_is_kept(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/tiers/")
    page.click("[data-theme-set=dark]")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    page.click("[data-theme-set=auto]")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")


def test_keyboard(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/tiers/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("p")
    page.wait_for_url(f"{site.address}/pools/")
    page.keyboard.press("/")
    expect(page.locator("#finder-input")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    expect(page.locator("main input[type=search]")).to_be_focused()


def test_small_screens_have_a_menu(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/tiers/", width=360)
    page.click("#menu-button")
    page.click("text=Entitlements")
    page.wait_for_url(f"{site.address}/entitlements/")


def test_numbers_are_written_alike_in_both_languages(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/pools/chat-8b/")
    for name, arguments, expected in CASES:
        seen = page.evaluate(f"TP.numbers.{name}(...{json.dumps(arguments)})")
        assert str(seen).replace(GAP, " ") == expected, (name, arguments)


def test_a_key_is_made_and_revoked(site: Site, opens: Opens) -> None:
    page = opens("eda@example.org", "/t/eve/keys/")
    page.fill("#id_name", "nightly")
    page.click("text=Create key")
    assert page.locator("#new-key").inner_text().startswith("tp_live_")
    page.goto(site.address + "/t/eve/keys/")
    page.click("button:has-text('Revoke')")
    page.click("dialog[open] button.btn-danger")
    page.goto(site.address + "/t/eve/keys/?show=all")
    expect(page.locator("table .chip.revoked")).to_have_count(1)
