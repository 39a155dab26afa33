"""Tenants in a browser: onboarded up to a first request at a real gateway, suspended, resumed, offboarded, peopled."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pools.models import Endpoint as EndpointRow
from pools.services.binding import binding_reconcile
from pools.services.routes import route_publish
from portal.accounts.choices import TenantRole
from portal.accounts.models import Membership, Tenant
from portal.lib.clock import now
from tests import cast
from tests.browser.conftest import Opens, Site
from tests.gateway.endpoint import Endpoint
from tests.portal_cast import ROOT, free_port, person

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@contextmanager
def endpoint() -> Iterator[str]:
    """A replica that answers, in a thread and a loop of its own; its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started = asyncio.run_coroutine_threadsafe(Endpoint().start(), loop).result(10)
    try:
        yield started.url
    finally:
        asyncio.run_coroutine_threadsafe(started.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@contextmanager
def gateway(environment: dict[str, str]) -> Iterator[str]:
    """The gateway as its own process; its address."""
    port = free_port()
    log = Path(environment["VAR_DIR"]) / f"gateway-{port}.log"
    command = [sys.executable, "-m", "pools.gateway", "--port", str(port)]
    with log.open("ab") as out:
        child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 30
        while not answers(f"{address}/readyz"):
            assert child.poll() is None and time.monotonic() < end, log.read_text()[-2000:]
        yield address
    finally:
        child.terminate()
        child.wait(15)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def ask(address: str, key: str) -> tuple[int, str]:
    """One chat request: its status, and the text or the error's code."""
    body = {"model": "chat-8b", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status, json.load(answer)["choices"][0]["message"]["content"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]["code"]


def until(address: str, key: str, wanted: tuple[int, str]) -> None:
    """Asks until the answer is the wanted one; a change reaches gateways within a second."""
    end, seen = time.monotonic() + 10, (0, "")
    while time.monotonic() < end:
        seen = ask(address, key)
        if seen == wanted:
            return
    raise AssertionError(f"{seen} is not {wanted}")


def onboard(page: Page, site: Site, name: str) -> str:
    """Walks the wizard; the key that is shown."""
    page.click("text=Onboard a tenant")
    page.fill("#id_name", name)
    expect(page.locator("#id_slug")).to_have_value("nord-wind")
    page.fill("#id_contact_email", "it@nord.example")
    page.click("button:has-text('Next')")
    expect(page.locator("#id_email")).to_have_value("it@nord.example")
    page.click("button:has-text('Next')")
    page.select_option("#id_pool", "chat-8b")
    page.select_option("#id_tier", "guaranteed")
    page.fill("#id_base_concurrency", "2")
    page.click("button:has-text('Use these')")
    expect(page.locator("#fit")).to_contain_text("Fits now")
    page.fill("#id_base_concurrency", "500")
    expect(page.locator("#fit")).to_contain_text("Does not fit")
    page.fill("#id_base_concurrency", "2")
    expect(page.locator("#fit")).to_contain_text("Fits now")
    page.click("button:has-text('Next')")
    page.click("button:has-text('Next')")
    expect(page.locator("main")).to_contain_text("All of this happens at once")
    assert not Tenant.objects.filter(slug="nord-wind").exists()
    page.click("main button.btn-primary")
    expect(page.locator(".sentence")).to_contain_text("is onboarded")
    return page.locator("#new-key").inner_text().strip()


def test_onboarded_to_the_first_request_then_suspended_with_undo(
    environment: dict[str, str], site: Site, opens: Opens
) -> None:
    with endpoint() as url, gateway(environment) as address:
        EndpointRow.objects.update(url=url)
        route_publish(site.world.pool.pk, now())
        page = opens("olga@example.org", "/tenants/")
        key = onboard(page, site, "Nørd Wind")
        assert key in page.locator("#curl").inner_text()
        expect(page.locator("#bound")).to_contain_text("pending")
        binding_reconcile(site.world.pool.pk, now())
        expect(page.locator("#bound")).to_contain_text("requests are let in")
        until(address, key, (200, "Hello."))

        page.click("text=To its page")
        page.click("a:has-text('Suspend')")
        expect(page.locator("main")).to_contain_text("What stops, at once")
        page.fill("#id_reason", "a test of the brakes")
        page.click("button.btn-danger")
        expect(page.locator(".page-head .chip.suspended")).to_be_visible()
        until(address, key, (403, "tenant_suspended"))
        page.click(".toast-note .undo")
        expect(page.locator(".page-head .chip.active")).to_be_visible()
        binding_reconcile(site.world.pool.pk, now())
        until(address, key, (200, "Hello."))
    assert site.complaints == []


def test_offboarding_wants_the_export_and_the_word(site: Site, opens: Opens, tmp_path: Path) -> None:
    page = opens("olga@example.org", "/tenants/eve/offboard/")
    button = page.locator("button:has-text('Offboard for good')")
    expect(button).to_be_disabled()
    with page.expect_download() as waiting:
        page.click("button:has-text('Download the export')")
    path = tmp_path / "export.zip"
    waiting.value.save_as(path)
    assert zipfile.ZipFile(path).testzip() is None
    page.reload()
    expect(page.locator("main")).to_contain_text("by olga@example.org")
    page.fill("#id_reason", "the contract has ended")
    page.fill("#id_confirm", "alice")
    expect(button).to_be_disabled()
    page.fill("#id_confirm", "eve")
    button.click()
    expect(page.locator(".page-head .chip.offboarded")).to_be_visible()
    expect(page.locator(".toast-note .undo")).to_have_count(0)
    expect(page.locator(".page-head a:has-text('Suspend')")).to_have_count(0)
    assert not Membership.objects.filter(tenant__slug="eve").exists()
    assert site.complaints == []


def test_an_admin_invites_and_gives_roles(site: Site, opens: Opens) -> None:
    other = person("emil@example.org", tenant=site.world.eve.tenant, role=TenantRole.VIEWER)
    page = opens("eda@example.org", "/t/eve/members/")
    page.fill("#id_email", "new@example.org")
    page.select_option("#id_role", "member")
    page.click("button:has-text('Send the invitation')")
    expect(page.locator("#new-link")).to_contain_text("/invitation/")
    expect(page.locator("main")).to_contain_text("1 invitation open")
    page.select_option(f"#role-{other.pk}", "admin")
    page.locator(f"tr:has(#role-{other.pk}) button:has-text('Set')").click()
    expect(page.locator(".toast-note")).to_contain_text("tenant admin from now on")
    expect(page.locator(f"#role-{other.pk}")).to_have_value("admin")
    page.click(".toast-note .undo")
    expect(page.locator(f"#role-{other.pk}")).to_have_value("viewer")
    page.locator("tr:has-text('eda@example.org') button[data-open]").click()
    expect(page.locator("dialog[open]")).to_contain_text("last admin")
    page.locator("dialog[open] button.btn-danger").click()
    expect(page.locator(".toast-note.bad")).to_contain_text("keeps at least one admin")
    assert Membership.objects.filter(tenant__slug="eve").count() == 2
    assert site.complaints == []


def test_would_it_fit_follows_what_is_typed(site: Site, opens: Opens) -> None:
    page = opens("eda@example.org", "/t/eve/limits/")
    expect(page.locator("#answer")).to_contain_text("Yes, it would be let in now.")
    page.fill("#id_max", "4000")
    page.fill("#id_prompt", "4000")
    expect(page.locator("#answer")).to_contain_text("waiting does not help")
    expect(page.locator("#answer")).to_contain_text("never_fits")
    page.fill("#id_prompt", "64")
    page.fill("#id_max", "64")
    expect(page.locator("#answer")).to_contain_text("Yes")
    page.fill("#id_max", "")
    page.fill("#id_prompt", "")
    expect(page.locator("#answer")).to_contain_text("Give whole numbers")
    assert site.complaints == []


def test_a_key_is_rotated_and_the_rotation_undone(site: Site, opens: Opens) -> None:
    page = opens("eda@example.org", "/t/eve/keys/")
    page.fill("#id_name", "nightly")
    page.click("button:has-text('Create key')")
    first = page.locator("#new-key").inner_text().strip()
    page.locator("main button:has-text('Rotate')").first.click()
    page.select_option("dialog[open] select", "168")
    page.locator("dialog[open] button.btn-primary").click()
    second = page.locator("#new-key").inner_text().strip()
    assert first != second
    expect(page.locator(".secret")).to_contain_text("works until")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.click(".toast-note .undo")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody")).to_contain_text(first[:14])
    assert site.complaints == []


def test_the_list_is_sorted_and_searched_in_the_address(site: Site, opens: Opens) -> None:
    cast.tenant_make("zed")
    page = opens("olga@example.org", "/tenants/")
    page.click("th a:has-text('Use of limit')")
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Use of limit")
    assert "sort=-use" in page.url
    expect(page.locator("tbody th a").first).to_have_text("Bob")
    page.select_option("select[name=holds]", "none")
    page.wait_for_url("**holds=none**")
    expect(page.locator("tbody th a")).to_have_text(["Zed"])
    assert "sort=-use" in page.url


def test_the_list_of_tenants_is_live_and_a_row_opens(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/tenants/")
    row = page.locator(f'tr[data-row="{site.world.eve.tenant_id}"]')
    expect(page.locator("#grid-age")).to_have_attribute("data-state", "live")
    page.evaluate("window.__same = true")
    order = page.locator("#grid tbody th").all_inner_texts()
    site.publish(busy=0.9, debt=0.33)
    expect(row.locator('[data-cell="debt"]')).to_have_text("owed 33\u00a0%", timeout=20_000)
    assert page.locator("#grid tbody th").all_inner_texts() == order and page.evaluate("window.__same")
    page.locator("summary", has_text="Columns").click()
    page.locator("#column-form").get_by_label("People").uncheck()
    page.get_by_role("button", name="Show these").click()
    page.wait_for_url("**cols=**")
    expect(page.locator("#grid thead")).not_to_contain_text("People")
    page.get_by_role("link", name="Dense").click()
    expect(page.locator("#grid table")).to_have_class("table opens sorted rows dense")
    page.locator(f'tr[data-row="{site.world.eve.tenant_id}"] [data-cell="refused"]').click()
    page.wait_for_url(f"{site.address}/tenants/eve/")
    page.goto(f"{site.address}/tiers/")
    page.locator("table.opens tbody tr").first.locator("td").nth(1).click()
    page.wait_for_url("**/tiers/*/")
    assert site.complaints == []
