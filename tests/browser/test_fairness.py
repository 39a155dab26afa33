"""The overview live; fairness, explain and timeline by keyboard; what happens while the socket is away."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from pools.models import FairnessSample, ScalingDecision
from pools.selectors.live import live_key
from portal.lib.clock import now
from portal.lib.hot import hot
from tests.browser.conftest import Opens, Site
from tests.browser.test_live import until
from tests.browser.test_look import serious
from tests.cast import pool_make
from tests.portal_cast import publish, tick_kept

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LAST = "document.getElementById('chart-use').data[0].y.slice(-1)[0]"


def lost_socket(page: Page, path: str, away: list[bool], open_ones: list[WebSocketRoute]) -> None:
    """A socket that can be held away, and what is open of it."""

    def door(socket: WebSocketRoute) -> None:
        if away[0]:
            socket.close()
        else:
            socket.connect_to_server()
            open_ones.append(socket)

    page.route_web_socket(re.compile(path), door)


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

    lost_socket(page, "/ws/overview/", away, open_ones)
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


FAIR = {
    "active": 2,
    "satisfied": 0.9,
    "jain": 0.99,
    "dispersion": 0.1,
    "owed": 1,
    "lent": [0, 0, 0.5],
    "free": [0, 0, 1],
}
FAIR |= {"beyond": [0, 0, 0]}


RANGE = "document.getElementById('chart-fairness')._fullLayout.xaxis.range.join()"


def zoom_in(page: Page, chart: str) -> None:
    """Drags over the middle of a chart."""
    box = page.locator(f"{chart} .nsewdrag").first.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.3 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], middle, steps=8)
    page.mouse.up()


def test_fairness_follows_the_tick_and_keeps_rows_zoom_and_legend(site: Site, opens: Opens) -> None:
    eve = site.world.eve.pk
    for ago in (20, 10, 5):
        FairnessSample.objects.create(
            at=now() - timedelta(seconds=ago), pool_id=site.world.pool.pk, elapsed_s=5, active=2, satisfied=0.8,
            jain=0.9, dispersion=0.2, lent=[30, 1e9, 2], free=[15, 1e9, 1], beyond=[0, 0, 0], loans=[],
        )  # fmt: skip
    page = opens("olga@example.org", "/tiers/")
    page.goto(f"{site.address}/fairness/?pool=chat-8b&range=15m&sort=name")
    site.publish(busy=0.5)
    expect(page.locator("#age")).to_have_attribute("data-state", "live")
    chart = "document.getElementById('chart-fairness')"
    until(page, f"({chart}.data || []).length === 3")
    page.locator("#chart-fairness .legendtoggle").nth(2).click()
    until(page, f"{chart}._fullData[2].visible === 'legendonly'")
    whole, end = page.evaluate(RANGE), page.evaluate(f"{chart}.data[0].x.length")
    zoom_in(page, "#chart-fairness")
    until(page, f"{RANGE} !== '{whole}'")
    zoom = page.evaluate(RANGE)
    order = page.locator("#fair-rows tbody th").all_inner_texts()
    widths = "Array.from(document.querySelectorAll('#fair-rows thead th')).map(n => Math.round(n.offsetWidth)).join()"
    page.evaluate("window.__same = true")
    before = page.evaluate(widths)
    site.publish(busy=0.25, debt=0.35, weight=140.0, kept=0.62, fair={**FAIR, "satisfied": 0.62, "most": [eve, 0.35]})
    row = page.locator(f'tr[data-entitlement="{eve}"]')
    expect(row.locator('[data-cell="debt"] .nums')).to_have_text("owed 35\u00a0%")
    expect(row.locator('[data-cell="weight"]')).to_have_text("140.0")
    expect(row.locator('[data-cell="satisfied"] .nums')).to_have_text("62\u00a0%")
    expect(row.locator('[data-cell="share"] [data-part="share"]')).to_contain_text("%")
    expect(page.locator('[data-tile="satisfied"] [data-part="value"]')).to_have_text("62\u00a0%")
    expect(page.locator('[data-tile="jain"] [data-part="value"]')).to_have_text("0.990")
    expect(page.locator("#sentence")).to_contain_text("kept to 62\u00a0%, alike for all; Eve is owed most: 35\u00a0%.")
    until(page, f"{chart}.data[0].y.slice(-1)[0] === 0.62 || {chart}.data[0].x.length >= {end}")
    assert page.evaluate(f"{chart}._fullData[2].visible") == "legendonly", "the legend's choice is kept"
    assert page.evaluate(RANGE) == zoom, "the zoom is kept"
    page.locator("#chart-fairness .nsewdrag").first.dblclick()
    until(page, f"{RANGE} !== '{zoom}'")
    bob = page.locator(f'tr[data-entitlement="{site.world.bob.pk}"] [data-cell="satisfied"]')
    expect(bob.locator(".muted")).to_be_visible()
    expect(bob.locator(".bullet")).to_be_hidden()
    assert page.locator("#fair-rows tbody th").all_inner_texts() == order, "rows keep their order"
    assert page.evaluate(widths) == before, "columns keep their width"
    assert page.evaluate("window.__same"), "the page was not loaded again"
    site.publish(busy=0.25, debt=-0.1)
    expect(row.locator('[data-cell="debt"] .nums')).to_have_text("above 10\u00a0%")
    expect(row.locator('[data-cell="satisfied"] .nums')).to_have_text("62\u00a0%"), "until the next debt step"
    assert serious(page) == []
    assert site.complaints == []


def test_a_chart_is_broken_where_nothing_was_measured(site: Site, opens: Opens) -> None:
    for ago in (300, 280, 20, 5):
        FairnessSample.objects.create(
            at=now() - timedelta(seconds=ago), pool_id=site.world.pool.pk, elapsed_s=5, active=2, satisfied=0.8,
            jain=0.9, dispersion=0.2, lent=[30, 1e9, 2], free=[15, 1e9, 1], beyond=[0, 0, 0], loans=[],
        )  # fmt: skip
    page = opens("olga@example.org", "/tiers/")
    page.goto(f"{site.address}/fairness/?pool=chat-8b&range=15m")
    until(page, "(document.getElementById('chart-fairness').data || []).length === 3")
    drawn = page.evaluate("document.getElementById('chart-fairness').data[0].y")
    assert None in drawn and drawn[0] == drawn[-1] == 0.8, "a line does not cross what is not known"
    until(page, "(document.getElementById('chart-lending').data || []).length === 3")
    area = page.evaluate("document.getElementById('chart-lending').data[0].y")
    assert area.count(0) == 2 and None not in area, "an area ends and begins again"
    assert site.complaints == []


def test_fairness_polls_while_the_socket_is_lost_and_comes_back(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/tiers/")
    away: list[bool] = [False]
    open_ones: list[WebSocketRoute] = []
    lost_socket(page, "/ws/pools/", away, open_ones)
    site.publish()
    page.goto(f"{site.address}/fairness/?pool=chat-8b")
    expect(page.locator("#age")).to_have_attribute("data-state", "live")
    away[0] = True
    open_ones[0].close()
    expect(page.locator("#age")).to_contain_text("reconnecting", timeout=20_000)
    site.publish(debt=0.41)
    debt = page.locator(f'tr[data-entitlement="{site.world.eve.pk}"] [data-cell="debt"] .nums')
    expect(debt).to_have_text("owed 41\u00a0%", timeout=30_000)
    away[0] = False
    until(page, "document.getElementById('age').textContent.indexOf('reconnecting') < 0", timeout=40_000)
    site.publish(debt=0.2)
    expect(debt).to_have_text("owed 20\u00a0%")


def test_a_page_that_came_before_the_first_tick_fills_itself(site: Site, opens: Opens) -> None:
    hot().delete(live_key(site.world.pool.pk))
    page = opens("olga@example.org", "/fairness/?pool=chat-8b")
    expect(page.locator("#fair-rows")).to_have_count(0)
    site.publish()
    expect(page.locator("#age")).to_have_attribute("data-state", "live")
    site.publish()
    expect(page.locator("#fair-rows tbody tr")).to_have_count(3)


def test_explain_opens_by_keyboard_in_a_dialog_and_gives_the_focus_back(site: Site, opens: Opens) -> None:
    tick_kept(site.world.pool)
    site.publish()
    page = opens("olga@example.org", "/fairness/?pool=chat-8b")
    why = page.get_by_role("button", name="Explain Eve")
    why.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#explain-dialog")
    expect(dialog).to_have_attribute("open", "")
    expect(dialog.locator(".formula .result b")).to_be_visible()
    expect(dialog).to_contain_text("What would change it")
    assert serious(page) == []
    page.keyboard.press("Escape")
    expect(dialog).not_to_have_attribute("open", "")
    expect(why).to_be_focused()
    page.get_by_role("link", name="Fairness", exact=True).first.focus()
    weight = page.locator(f'#fair-rows a[href="/entitlements/{site.world.eve.slug}/explain/"]')
    weight.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.address}/entitlements/{site.world.eve.slug}/explain/")
    expect(page.locator("h1")).to_have_text("Why these numbers")
    assert serious(page) == []
    assert site.complaints == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_full_explanation_fits_small_screens_and_reads_well(dark: bool, site: Site, opens: Opens) -> None:
    tick_kept(site.world.pool)
    page = opens("eda@example.org", "/t/eve/explain/", dark=dark)
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{wide} px too wide at {width}"
    assert serious(page) == []
    assert site.complaints == []


def test_the_timeline_is_walked_by_keyboard(site: Site, opens: Opens) -> None:
    moment = now()
    for number, (before, chosen) in enumerate(((1, 2), (2, 3))):
        ScalingDecision.objects.create(
            pool=site.world.pool, at=moment - timedelta(seconds=30 + number), ready=1, pending=0, before=before,
            floor=1, need=1.7, chosen=chosen, code="up", reason="Demand.", applied=True,
        )  # fmt: skip
    page = opens("olga@example.org", "/timeline/?pool=chat-8b")
    expect(page.locator("#chart-timeline .main-svg").first).to_be_visible()
    first, second = page.locator(".event").nth(0), page.locator(".event").nth(1)
    first.focus()
    until(page, "((document.getElementById('chart-timeline').layout || {}).shapes || []).length === 1")
    page.keyboard.press("ArrowDown")
    expect(second).to_be_focused()
    page.locator("#pool").focus()
    until(page, "((document.getElementById('chart-timeline').layout || {}).shapes || []).length === 0")
    page.get_by_label("Scaling decisions").uncheck()
    page.wait_for_url(re.compile("kind=tier"))
    assert "kind=scaling" not in page.url
    expect(page.locator("text=Nothing of these kinds happened")).to_be_visible()
    page.get_by_role("link", name="Show every kind").click()
    expect(page.locator(".event")).to_have_count(2)
    assert serious(page) == []
    assert site.complaints == []


def test_the_timeline_goes_on_while_one_reads_it(site: Site, opens: Opens) -> None:
    def decide(before: int, chosen: int, ago_s: float = 0) -> None:
        ScalingDecision.objects.create(
            pool=site.world.pool, at=now() - timedelta(seconds=ago_s), ready=1, pending=0, before=before, floor=1,
            need=1.7, chosen=chosen, code="up", reason="Demand.", applied=True,
        )  # fmt: skip

    decide(1, 2, 30)
    decide(2, 3, 25)
    page = opens("olga@example.org", "/timeline/?pool=chat-8b")
    expect(page.locator("#chart-timeline .main-svg").first).to_be_visible()
    site.publish(refused={"kv_budget": 3})
    expect(page.locator("#age")).to_have_attribute("data-state", "live")
    counted = "(document.getElementById('chart-timeline').data || []).filter(t => t.meta.code === 'kv_budget')[0].y"
    until(page, f"{counted}.slice(-1)[0] === 3")
    first = page.locator(".event").first
    first.focus()
    zoom_in(page, "#chart-timeline")
    first.focus()
    across = "document.getElementById('chart-timeline')._fullLayout.xaxis.range.join()"
    zoom, old = page.evaluate(across), first.get_attribute("id")
    decide(3, 4)
    expect(page.locator(".event")).to_have_count(3, timeout=20_000)
    expect(page.locator(".event").first).to_contain_text("3 → 4 replicas")
    expect(page.locator(f"#{old}")).to_be_focused()
    news = page.locator("#new-events")
    expect(news).to_have_text("1 new event")
    expect(news).to_have_attribute("aria-live", "polite")
    assert page.locator("#events").get_attribute("aria-live") is None, "lines are not read aloud one by one"
    expect(page.locator("#sentence")).to_contain_text("3 scaling decisions")
    marks = "document.getElementById('chart-timeline').data.filter(t => t.meta.kind === 'scaling')[0].x.length"
    assert page.evaluate(marks) == 3
    site.publish(refused={"kv_budget": 2})
    until(page, f"{counted}.reduce((a, b) => a + b, 0) === 5")
    assert page.evaluate(across) == zoom, "the zoom is kept"
    assert page.evaluate("document.getElementById('chart-timeline').layout.shapes.length") == 1, (
        "the moment stays marked"
    )
    assert serious(page) == []
    assert site.complaints == []


def test_an_empty_timeline_fills_itself(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/timeline/?pool=chat-8b")
    expect(page.locator("#no-events")).to_be_visible()
    ScalingDecision.objects.create(
        pool=site.world.pool, at=now(), ready=1, pending=0, before=1, floor=1, need=1.7, chosen=2, code="up",
        reason="Demand.", applied=True,
    )  # fmt: skip
    expect(page.locator(".event")).to_have_count(1, timeout=20_000)
    expect(page.locator("#no-events")).to_be_hidden()
