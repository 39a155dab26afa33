"""An operator makes a rule, sees it fire on a real evaluation, mutes it and takes that back, and tests a channel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as loaded
from django.db import connection
from playwright.sync_api import expect

from pools.models import AlertRule
from pools.services.alert_deliveries import deliveries_send
from pools.services.alerting import READ_KEY, alerts_watch
from portal.lib.clock import now
from portal.lib.hot import hot
from tests.browser.conftest import Opens, Site
from tests.receiver import Receiver, receiving

LONGEST = 20_000
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Of the portal's process: its webhooks may reach the receiver on loopback."""
    return {**environment, "ALERT_PRIVATE_TARGETS": "1"}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(loaded, "ALERT_PRIVATE_TARGETS", True)
    with receiving() as found:
        yield found


def aside(deed: Callable[[], Any]) -> None:
    """Runs a deed in a thread of its own: Playwright's event loop runs in this one."""

    def run() -> None:
        deed()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)


def watch(site: Site, headroom: float) -> None:
    """The tick's message with so much headroom, and one look of the watch."""
    site.publish(capacity=[100.0] * 3, hold=[0.0] * 3, use=[10.0, 100.0 - headroom, 10.0])
    hot().delete(READ_KEY)
    alerts_watch(now())


def test_from_a_new_rule_to_a_signed_message(site: Site, opens: Opens, receiver: Receiver) -> None:
    watch(site, 12)
    page = opens("olga@example.org", "/alerts/channels/new/")
    page.fill("#id_name", "pager")
    page.select_option("#id_kind", "webhook")
    page.fill("#id_target", receiver.url)
    page.click("text=Add the channel")
    assert page.locator("#new-secret").inner_text().startswith("whsec_")
    page.click("text=Send a test")
    expect(page.locator(".toast-note")).to_contain_text("The test arrived: 200 taken")
    expect(page.locator("#new-secret")).to_have_count(0)
    assert receiver.events() == ["test"]

    page.goto(f"{site.address}/alerts/rules/new/")
    page.fill("#id_name", "Little room")
    page.fill("#id_warning", "10")
    page.fill("#id_for_seconds", "0")
    expect(page.locator("#would-fire")).to_have_text("It would not fire now.")
    expect(page.locator("#chart-preview .main-svg").first).to_be_visible()
    page.fill("#id_warning", "20")
    expect(page.locator("#would-fire")).to_have_text("It would fire here now, at once.")
    page.check("text=pager")
    page.click("text=Add the rule")
    expect(page.locator(".toast-note")).to_contain_text("is watched from now on")

    page.goto(f"{site.address}/alerts/")
    expect(page.locator("#sentence")).to_have_text("All quiet: 1 rule watches the platform.")
    watch(site, 7)
    expect(page.locator("#sentence")).to_have_text("1 alert is open: 1 warning.", timeout=LONGEST)  # without a reload
    expect(page.locator("[data-alert] .wide")).to_contain_text("chat-8b has 7")
    aside(lambda: deliveries_send(now()))
    assert receiver.events() == ["test", "opened"]
    watch(site, 60)
    expect(page.locator("#sentence")).to_have_text("All quiet: 1 rule watches the platform.", timeout=LONGEST)
    aside(lambda: deliveries_send(now()))
    assert receiver.events() == ["test", "opened", "cleared"]
    page.goto(f"{site.address}/alerts/deliveries/")
    expect(page.locator("tbody tr")).to_have_count(3)
    assert site.complaints == []


def test_mute_and_undo(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/alerts/")
    page.click("text=Add recommended rules")
    expect(page.locator(".toast-note")).to_contain_text("6 recommended rules were added")
    page.click("tr:has-text('Little headroom') button:has-text('Mute 1 h')")
    expect(page.locator(".banner")).to_contain_text("Muted until")
    page.click(".toast-note .undo")
    expect(page.locator(".toast-note")).to_contain_text("is no longer muted")
    expect(page.locator(".banner")).to_have_count(0)
    assert AlertRule.objects.filter(muted_until__isnull=False).count() == 0
    page.click("text=Remove this rule")
    expect(page.locator("dialog[open] button.btn-danger")).to_be_disabled()
    page.fill("dialog[open] [data-confirm-word]", "Little headroom")
    page.click("dialog[open] button.btn-danger")
    expect(page.locator(".toast-note")).to_contain_text("is gone")
    assert site.complaints == []
