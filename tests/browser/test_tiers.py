"""Tiers in a real browser: what is saved reaches the next tick and everybody's pool page; nothing is saved unseen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Page, expect

from pools.models import Entitlement, Tier, TierVersion
from pools.services.documents import documents_refresh
from pools.services.entitlements import entitlement_change
from pools.services.tick import shard_tick
from pools.services.tier_terms import TierTerms
from pools.services.tiers import tier_publish
from portal.accounts.choices import PlatformRole
from portal.lib.clock import now
from tests.browser.conftest import Opens, Site
from tests.cast import OLGA, replica_ready
from tests.portal_cast import person

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
EDIT, PAGE, POOL = "/tiers/elastic/edit/", "/tiers/elastic/", "/pools/chat-8b/"
LONGEST_S = 3.0
"""From the save until another browser shows it."""


@pytest.fixture
def ticking(site: Site) -> Iterator[None]:
    """The real tick of the pool, every second as beat sends it; two replicas, so that ceilings and not room bind."""
    over = threading.Event()
    troubles: list[BaseException] = []

    def tick() -> None:
        try:
            while not over.wait(1.0):
                shard_tick(0, [site.world.pool.pk], now())
        except BaseException as error:
            troubles.append(error)
        finally:
            connection.close()

    replica_ready(site.world.pool, 2)
    documents_refresh(now(), full=True)
    shard_tick(0, [site.world.pool.pk], now())
    thread = threading.Thread(target=tick)
    thread.start()
    yield
    over.set()
    thread.join()
    assert troubles == []


def in_force() -> TierVersion:
    current = Tier.objects.select_related("current").get(slug="elastic").current
    assert current is not None
    return current


def slots(page: Page, row: Entitlement) -> Any:
    return page.locator(f'tr[data-entitlement="{row.pk}"] [data-cell="2"] .nums')


def computed(page: Page) -> Any:
    """The token of the preview that is shown."""
    token = page.locator('#preview input[name="token"]')
    expect(token).to_have_count(1)
    return token.input_value()


def typed(page: Page, name: str, value: str) -> None:
    """Types over a field and waits for the preview of it."""
    before = computed(page)
    page.fill(f"#id_{name}", value)
    expect(page.locator('#preview input[name="token"]')).not_to_have_value(before)


@pytest.mark.usefixtures("ticking")
def test_a_saved_limit_shows_in_another_browser(site: Site, opens: Opens) -> None:
    person("otto@example.org", PlatformRole.OPERATOR)
    looking = opens("otto@example.org", POOL)
    expect(slots(looking, site.world.eve)).to_have_text("0 of 10\u00a0slots")
    page = opens("olga@example.org", EDIT)
    expect(page.locator("#preview")).to_contain_text("Replicas wanted")
    typed(page, "burst_concurrency", "1.2")
    eve = page.locator("#preview tr", has_text="Eve")
    expect(eve).to_contain_text("from 10")
    page.fill("#id_reason", "Calmer nights")
    page.click("text=Publish v2")
    expect(slots(looking, site.world.eve)).to_have_text("0 of 6\u00a0slots", timeout=LONGEST_S * 1000)
    page.wait_for_url(f"{site.address}{PAGE}")
    expect(page.locator(".toast-note")).to_contain_text("v2 of elastic is in force")
    page.click(".toast-note .undo")
    expect(page.locator(".toast-note")).to_contain_text("v2 is undone")
    expect(slots(looking, site.world.eve)).to_have_text("0 of 10\u00a0slots")
    assert (in_force().number, in_force().burst_concurrency) == (3, Decimal(2))
    assert site.complaints == []


def test_an_older_version_comes_back(site: Site, opens: Opens) -> None:
    tier_publish(
        actor=OLGA,
        now=now(),
        tier_id=site.world.eve.tier_id,
        terms=TierTerms.of_class("elastic", slo_ms=300),
        reason="tight",
    )
    page = opens("olga@example.org", PAGE)
    page.get_by_role("link", name="Compare v1").click()
    expect(page.locator(".sides del")).to_have_text("1,000\u00a0ms")
    page.get_by_role("link", name="Bring v1 back").click()
    computed(page)
    expect(page.locator(".sides ins")).to_have_text("1,000\u00a0ms")
    page.fill("#id_reason", "It was too tight")
    page.click("text=Bring them back")
    page.wait_for_url(f"{site.address}{PAGE}")
    assert (in_force().number, in_force().slo_ms, in_force().reason) == (3, 1000, "It was too tight")
    expect(page.locator("tr", has_text="It was too tight")).to_contain_text("(from v1)")
    assert site.complaints == []


def test_a_stale_preview_is_refused_with_the_fresh_one(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", EDIT)
    typed(page, "slo_ms", "700")
    old = computed(page)
    changes = {"cap_concurrency": 9, "cap_kv_bytes": 10**12, "cap_tokens_per_second": 900}
    entitlement_change(actor=OLGA, now=now(), entitlement_id=site.world.bob.pk, changes=changes)
    page.click("text=Publish v2")
    expect(page.locator("#errors")).to_contain_text("moved after the preview was made")
    expect(page.locator("#errors")).to_be_focused()
    assert in_force().number == 1
    expect(page.locator("#id_slo_ms")).to_have_value("700")
    assert computed(page) != old, "the fresh preview is there already"
    page.click("text=Publish v2")
    page.wait_for_url(f"{site.address}{PAGE}")
    assert (in_force().number, in_force().slo_ms) == (2, 700)
    site.complaints[:] = [text for text in site.complaints if "409" not in text]
    assert site.complaints == []


def test_bad_terms_are_said_beside_the_field(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", EDIT)
    computed(page)
    page.fill("#id_burst_kv", "a lot")
    expect(page.locator("#preview")).to_contain_text("got “a lot”")
    page.click("text=Publish v2")
    page.locator("#errors a").click()
    expect(page.locator("#id_burst_kv")).to_be_focused()
    expect(page.locator("#id_burst_kv")).to_have_value("a lot")
    expect(page.locator("#error_burst_kv")).to_contain_text("× baseline")


def test_keyboard_alone(site: Site, opens: Opens) -> None:
    """From the list to a published version without a mouse."""
    page = opens("olga@example.org", "/overview/")
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.wait_for_url(f"{site.address}/tiers/")
    tab_to(page, 'a[href="/tiers/elastic/"]')
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.address}{PAGE}")
    tab_to(page, f'a[href="{EDIT}"]')
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.address}{EDIT}")
    before = computed(page)
    tab_to(page, "#id_burst_concurrency")
    page.keyboard.press("Control+A")
    page.keyboard.type("1.4")
    page.keyboard.press("Enter")
    expect(page.locator('#preview input[name="token"]')).not_to_have_value(before)
    assert page.url.endswith(EDIT) and in_force().number == 1, "Enter in a field previews, it does not publish"
    tab_to(page, "#id_reason")
    page.keyboard.type("No mouse")
    tab_to(page, 'button[value="publish"]')
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.address}{PAGE}")
    assert (in_force().burst_concurrency, in_force().reason) == (Decimal("1.400"), "No mouse")
    assert site.complaints == []


def tab_to(page: Page, selector: str) -> None:
    """Presses Tab until the element has the focus, which must be visible there."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("(s) => document.activeElement.matches(s)", selector):
            style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert style != "none", f"the focus cannot be seen on {selector}"
            return
    raise AssertionError(f"{selector} cannot be reached with the Tab key")


def test_two_operators_meet_and_merge(site: Site, opens: Opens) -> None:
    person("otto@example.org", PlatformRole.OPERATOR)
    first, second = opens("olga@example.org", EDIT), opens("otto@example.org", EDIT)
    typed(first, "hold_ms", "100")
    typed(first, "class_weight", "50")
    typed(second, "slo_ms", "700")
    typed(second, "class_weight", "30")
    second.fill("#id_reason", "Otto's")
    first.fill("#id_reason", "Olga's")
    first.click("text=Publish v2")
    first.wait_for_url(f"{site.address}{PAGE}")
    second.click("text=Publish v2")
    expect(second.locator("h1")).to_have_text("Two edits met")
    expect(second.locator("#errors")).to_contain_text("1 field you both changed")
    expect(second.locator("main")).to_contain_text("Olga's")
    weight = second.locator("table.merge tr", has_text="Weight")
    for value in ("100", "50", "30"):
        expect(weight).to_contain_text(value)
    computed(second)
    weight.get_by_label("50").check()
    second.click("text=Go on with these terms")
    for name, value in (("hold_ms", "100"), ("class_weight", "50"), ("slo_ms", "700"), ("reason", "Otto's")):
        expect(second.locator(f"#id_{name}")).to_have_value(value)
    computed(second)
    second.click("text=Publish v3")
    second.wait_for_url(f"{site.address}{PAGE}")
    made = in_force()
    assert (made.number, made.hold_ms, made.class_weight, made.slo_ms) == (3, 100, 50.0, 700)
    assert (made.author_label, made.reason) == ("otto@example.org", "Otto's")


def test_leaving_asks_first_and_a_draft_waits(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", EDIT)
    typed(page, "slo_ms", "321")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.get_by_role("link", name="Tiers", exact=True).first.click(no_wait_after=True)
    expect(page.locator("#id_slo_ms")).to_have_value("321")
    assert asked == ["beforeunload"]
    page.click("text=Save draft")
    expect(page.locator(".toast-note")).to_contain_text("Your draft is kept")
    page.goto(site.address + PAGE)
    page.click("text=Go on with it")
    expect(page.locator("#id_slo_ms")).to_have_value("321")
    assert in_force().number == 1
    page.get_by_role("button", name="Discard the draft").click()
    expect(page.locator("#toasts")).to_contain_text("Your draft is gone")
    page.click("#toasts .undo")
    expect(page.locator("#toasts")).to_contain_text("Your draft is as it was before")
    expect(page.locator("main")).to_contain_text("This is your draft")
