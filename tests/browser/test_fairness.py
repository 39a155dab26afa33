"""The overview live; fairness, explain and timeline by keyboard; what happens while the socket is away."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.browser.conftest import Opens, Site
from tests.browser.test_live import until
from tests.cast import pool_make
from tests.portal_cast import publish

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LAST = "document.getElementById('chart-use').data[0].y.slice(-1)[0]"


def test_overview_follows_the_tick_without_reload_and_keeps_its_rows(site: Site, opens: Opens) -> None:
    other = pool_make("embed")
    publish(other)
    page = opens("olga@example.org", "/overview/")
    site.publish(busy=0.2)
    expect(page.locator("#age")).to_have_attribute("data-state", "live")
    until(page, "(document.getElementById('chart-use').data || [{x: []}])[0].x.length > 0")
    page.evaluate("window.__same = true")
    order = page.locator("#pool-rows tbody th").all_inner_texts()
    widths = "Array.from(document.querySelectorAll('#pool-rows thead th')).map(n => Math.round(n.offsetWidth)).join()"
    top = "Math.round(document.getElementById('chart-use').getBoundingClientRect().top)"
    before, drawn, place = page.evaluate(widths), page.evaluate(LAST), page.evaluate(top)
    site.publish(busy=0.97, ready=3, waiting=4, refused={"kv_budget": 7})
    tile = page.locator('[data-tile="waiting"] [data-part="value"]')
    expect(tile).to_have_text("4")
    row = page.locator(f'tr[data-pool="{site.world.pool.pk}"]')
    expect(row.locator('[data-cell="tight"]')).to_have_text("Concurrency 3\u00a0% free")
    expect(row.locator('[data-cell="replicas"]')).to_have_text("3 of 4")
    expect(page.locator("#sentence")).to_contain_text("chat-8b")
    expect(page.locator("#refused-now")).to_have_text("7 in the last second")
    assert page.evaluate(LAST) != drawn, "the chart goes on"
    assert page.locator("#pool-rows tbody th").all_inner_texts() == order, "rows keep their order"
    assert page.evaluate(widths) == before, "columns keep their width"
    assert page.evaluate(top) == place, "nothing jumps"
    assert page.evaluate("window.__same"), "the page was not loaded again"
    assert site.complaints == []


def test_overview_says_that_the_socket_is_lost_polls_and_comes_back(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/tiers/")
    away: list[bool] = [False]
    open_ones: list[WebSocketRoute] = []

    def door(socket: WebSocketRoute) -> None:
        if away[0]:
            socket.close()
        else:
            socket.connect_to_server()
            open_ones.append(socket)

    page.route_web_socket(re.compile("/ws/overview/"), door)
    page.goto(f"{site.address}/overview/")
    site.publish()
    expect(page.locator("#age")).to_have_attribute("data-state", "live")
    away[0] = True
    open_ones[0].close()
    expect(page.locator("#age")).to_contain_text("reconnecting", timeout=20_000)
    site.publish(waiting=9)
    expect(page.locator('[data-tile="waiting"] [data-part="value"]')).to_have_text("9", timeout=30_000)
    expect(page.locator("#age")).to_contain_text("reconnecting")
    away[0] = False
    until(page, "document.getElementById('age').textContent.indexOf('reconnecting') < 0", timeout=40_000)
    site.publish(waiting=2)
    expect(page.locator('[data-tile="waiting"] [data-part="value"]')).to_have_text("2")
    expect(page.locator("#age")).to_have_attribute("data-state", "live")
