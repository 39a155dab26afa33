"""Numbers change while one looks, and come back after the server was away."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opens, Site
from tests.portal_cast import portal

LONGEST_S = 15.0


def until(page: Page, expression: str, timeout: float = LONGEST_S * 1000) -> None:
    """Waits until a JavaScript expression is true; Playwright's own wait would need eval, which the policy forbids."""
    end = time.monotonic() + timeout / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never became true: {expression}"
        page.wait_for_timeout(50)


pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_pool_page_follows_the_tick(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/pools/chat-8b/")
    site.publish()
    expect(page.locator("#age")).to_have_attribute("data-state", "live")
    expect(page.locator("#chart-use .main-svg").first).to_be_visible()
    order = page.locator("#entitlements tbody th").all_inner_texts()
    site.publish(busy=0.9, sentence="Nearly full.", ready=3, refused={"kv_budget": 4})
    expect(page.locator("#sentence")).to_have_text("Nearly full.")
    expect(page.locator("#replicas-tile [data-part=ready]")).to_have_text("3")
    expect(page.locator("#refused-now")).to_have_text("4 in the last second")
    eve = page.locator(f'tr[data-entitlement="{site.world.eve.pk}"] [data-cell="2"] .nums')
    expect(eve).to_have_text("9 of 10\u00a0slots")
    last = "document.getElementById('chart-use').data[0].y.slice(-1)[0]"
    drawn = page.evaluate(last)
    site.publish(busy=0.3)
    expect(eve).to_have_text("3 of 10\u00a0slots")
    assert page.evaluate(last) != drawn, "the chart goes on"
    assert page.locator("#entitlements tbody th").all_inner_texts() == order, "rows keep their order"
    assert site.complaints == []


def test_zoom_and_legend_survive_updates(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/pools/chat-8b/")
    expect(page.locator("#chart-use .main-svg").first).to_be_visible()
    site.publish(busy=0.5)
    until(page, "(document.getElementById('chart-use').data || [{x: []}])[0].x.length > 0")
    page.locator("#chart-use .legendtoggle").nth(1).click()
    until(page, "document.getElementById('chart-use')._fullData[1].visible === 'legendonly'")
    site.publish(busy=0.6, sentence="after")
    expect(page.locator("#sentence")).to_have_text("after")
    assert page.evaluate("document.getElementById('chart-use')._fullData[1].visible") == "legendonly"


def test_dimension_switch_is_kept_in_the_address(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/pools/chat-8b/")
    page.click("#dimensions button[data-dimension=slots]")
    expect(page.locator("#dimensions button[data-dimension=slots]")).to_have_attribute("aria-pressed", "true")
    until(page, "(document.getElementById('chart-use').layout || {yaxis: {title: {}}}).yaxis.title.text === 'slots'")
    assert "dimension=slots" in page.url


def test_it_says_so_when_the_server_is_away_and_reconnects(
    environment: dict[str, str], site: Site, opens: Opens
) -> None:
    page = opens("olga@example.org", "/pools/chat-8b/")
    site.publish()
    expect(page.locator("#age")).to_have_attribute("data-state", "live")
    page.evaluate(
        "window.__sockets = 0; const W = WebSocket;"
        "window.WebSocket = function (u) { window.__sockets += 1; return new W(u); }"
    )
    _restart(site)
    expect(page.locator("#age")).not_to_have_attribute("data-state", "live", timeout=10_000)
    with portal(environment, site.port):
        until(page, "window.__sockets > 0", timeout=30_000)
        for attempt in range(30):
            site.publish(busy=0.8, sentence=f"Back again {attempt}.")
            try:
                expect(page.locator("#sentence")).to_contain_text("Back again", timeout=1_000)
                break
            except AssertionError:
                continue
        expect(page.locator("#age")).to_have_attribute("data-state", "live")


def _restart(site: Site) -> None:
    """Ends the first server; the fixture's own end then finds it gone."""
    import os
    import signal
    from pathlib import Path

    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and f"--port\0{site.port}\0".encode() in _command(entry):
            os.kill(int(entry.name), signal.SIGTERM)


def _command(entry: object) -> bytes:
    from pathlib import Path

    try:
        return (Path(str(entry)) / "cmdline").read_bytes() + b"\0"
    except OSError:
        return b""


def test_tenant_home_follows_its_own_numbers(site: Site, opens: Opens) -> None:
    page = opens("eda@example.org", "/t/eve/")
    expect(page.locator("#sentence")).to_contain_text("of your usual size now")
    expect(page.locator('[data-now="2"]')).to_have_text("5 of 10\u00a0slots")
    site.publish(busy=1.0)
    expect(page.locator("#sentence")).to_contain_text("No further request of your usual size fits right now")
    expect(page.locator("[data-part=debt]")).to_have_text("owed 20\u00a0%")
    assert site.complaints == []
