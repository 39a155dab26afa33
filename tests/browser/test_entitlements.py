"""Entitlements as an operator works with them: many at once, one that has to fit, one that was asked for."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pools.models import BulkItem, BulkJob, Entitlement
from pools.models.jobs import ItemState
from portal.env import BASE_DIR
from tests.browser.conftest import Opens, Site
from tests.cast import pool_make, promise, slots, tenant_make
from tests.portal_cast import children_end
from tests.services.test_bulk import crowd

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
MANY = 1000
DECEMBER = datetime(2090, 12, 3, tzinfo=UTC)
LONGEST_MS = 150_000


@pytest.fixture
def workers(site: Site) -> Iterator[None]:
    """Beat and a worker as processes; of the queues only the one that bulk jobs use."""
    running = []
    for words in (("worker", "--pool", "threads", "--concurrency", "2", "--queues", "default"), ("beat",)):
        log = (Path(site.environment["VAR_DIR"]) / f"celery-{words[0]}.log").open("ab")
        argv = [sys.executable, "-m", "celery", "--app", "portal", *words, "--loglevel", "WARNING"]
        extra = ["--without-mingle", "--without-gossip"] if words[0] == "worker" else ["--pidfile", ""]
        running.append(subprocess.Popen([*argv, *extra], env=site.environment, stdout=log, stderr=log, cwd=BASE_DIR))
    yield
    children_end(running)


def complaints(site: Site) -> list[str]:
    """What browsers complained about but refused forms, and requests that were given up because the page was left."""
    return [text for text in site.complaints if "422" not in text and not text.startswith("htmx:")]


def preview_of(page: Page) -> str:
    return " ".join(page.locator("#preview").inner_text().split())


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_thousand_at_once_with_progress_then_undone_and_cancelled(site: Site, opens: Opens, workers: None) -> None:
    pool = pool_make("bulk-8b", max_replicas=300)
    crowd(MANY, pool, site.world.eve.tier)
    page = opens("olga@example.org", "/entitlements/?pool=bulk-8b")
    page.check("#pick-page")
    expect(page.locator("#pick-count")).to_have_text("50")
    page.click("text=Next page")
    page.wait_for_url(re.compile("cursor="))
    expect(page.locator("#pick-count")).to_have_text("50")
    page.click("#pick-all")
    expect(page.locator("#pick-count")).to_have_text("1,000")
    page.click("#pick-go")
    expect(page.locator("h1")).to_have_text("Edit 1,000 entitlements")
    page.check("input[name=action][value=scale]")
    page.fill("#id_factor", "1.4")
    expect(page.locator("#preview")).to_contain_text("1,000 would change")
    assert "tokens/s 15 → 21" in preview_of(page) and not BulkJob.objects.exists()
    page.click("#preview button[type=submit]")
    expect(page.locator("#errors")).to_contain_text("Say why")
    page.fill("#id_reason", "autumn sale")
    page.click("#preview button[type=submit]")

    page.wait_for_url(re.compile(r"/entitlements/jobs/\d+/$"))
    bar = page.locator(".job-progress")
    expect(bar).to_have_attribute("max", str(MANY))
    expect(page.locator("#progress .sentence")).to_have_text(
        re.compile(r"factor: 1.4: [1-9][\d,]* of 1,000 done"), timeout=LONGEST_MS
    )
    there = page.url
    page.goto(f"{site.address}/entitlements/jobs/")  # left and found again
    page.click("tbody th a")
    assert page.url == there
    expect(page.locator("#progress .sentence")).to_contain_text("all 1,000 looked at, none refused", timeout=LONGEST_MS)
    expect(page.locator("#items tbody tr").first).to_contain_text("tokens/s 15 → 21")
    assert set(Entitlement.objects.filter(pool=pool).values_list("base_tokens_per_second", flat=True)) == {21}
    with page.expect_download() as download:
        page.click("text=Report (CSV)")
    assert len(Path(download.value.path()).read_text().splitlines()) == MANY + 1

    page.click("text=Undo this job")
    page.wait_for_url(lambda url: url != there)
    expect(page.locator("#progress .sentence")).to_have_text(
        re.compile(r"[1-9][\d,]* of 1,000 done"), timeout=LONGEST_MS
    )
    page.click("text=Cancel the rest")
    expect(page.locator("#progress .sentence")).to_contain_text("cancelled after", timeout=LONGEST_MS)
    done = BulkItem.objects.filter(job__action="undo", state=ItemState.DONE).count()
    assert 0 < done < MANY
    assert Entitlement.objects.filter(pool=pool, base_tokens_per_second=15).count() == done
    assert complaints(site) == []


def test_the_fit_is_told_while_one_types_and_the_promise_is_undone(site: Site, opens: Opens) -> None:
    tenant_make("carol")
    page = opens("olga@example.org", "/entitlements/new/")
    page.fill("#id_tenant", "car")
    expect(page.locator("#tenant-options option")).to_have_count(1)
    page.fill("#id_tenant", "carol")
    page.select_option("#id_pool", "chat-8b")
    page.select_option("#id_tier", "guaranteed")
    page.fill("#id_base_concurrency", "4")
    expect(page.locator("#fit")).to_contain_text("4 slots of this pool are")
    page.click("text=Fill these in")
    word = page.locator(".fit-word")
    expect(word).to_have_text(re.compile("Fits now"))
    page.fill("#id_base_concurrency", "14")
    expect(word).to_contain_text("Fits after scaling to 2 replicas: now short of")
    page.fill("#id_base_concurrency", "90")
    expect(word).to_contain_text("Does not fit: short of")
    expect(page.locator("#fit tbody tr").nth(2)).to_contain_text("64")
    promise(site.world.pool, tenant_make("later"), site.world.alice.tier, slots(50), valid_from=DECEMBER)
    page.fill("#id_base_concurrency", "13")
    expect(word).to_contain_text(re.compile(r"Does not fit from 2090-12-03 00:00: short of 10.slots"))
    page.fill("#id_valid_until", "2090-12-03T00:00")
    expect(word).to_contain_text("Fits after scaling to 2 replicas: now short of")
    page.fill("#id_valid_until", "")
    page.fill("#id_base_concurrency", "90")
    page.click("text=Promise it")
    expect(page.locator("#errors")).to_contain_text("cannot promise this")
    assert page.input_value("#id_tenant") == "carol" and page.input_value("#id_base_concurrency") == "90"
    page.fill("#id_base_concurrency", "2")
    expect(page.locator(".fit-warning")).to_contain_text("Little")
    page.click("text=Promise it")
    page.wait_for_url(f"{site.address}/entitlements/carol-chat-8b/")
    expect(page.locator("#toasts")).to_contain_text("is promised")
    page.click("#toasts .undo")
    expect(page.locator("#sentence")).to_contain_text("It has ended")
    assert Entitlement.objects.get(slug="carol-chat-8b").state == "expired"
    assert complaints(site) == []


def test_asked_for_and_approved_and_each_decision_taken_back(site: Site, opens: Opens) -> None:
    eda = opens("eda@example.org", "/t/eve/requests/")
    assert eda.input_value("#id_concurrency") == "5"
    eda.fill("#id_concurrency", "8")
    expect(eda.locator("#ask-check")).to_contain_text("fits the capacity that is ready")
    eda.fill("#id_reason", "Launch next week 🚀")
    eda.click("text=Send the request")
    expect(eda.locator("tbody tr")).to_contain_text("Waiting for an operator")

    olga = opens("olga@example.org", "/requests/")
    expect(olga.locator(".fit-chip")).to_have_text("fits now")
    olga.click("tbody th a")
    expect(olga.locator("main")).to_contain_text("Launch next week")
    olga.click("text=Approve: promise it now")
    expect(olga.locator("#errors")).to_contain_text("Give a reason")
    olga.fill("#id_reason", "Good luck")
    olga.click("text=Approve: promise it now")
    olga.wait_for_url(f"{site.address}/entitlements/eve-chat-8b/")
    expect(olga.locator(".audit-table")).to_contain_text("Good luck")

    eda.reload()
    expect(eda.locator("tbody tr")).to_contain_text("Approved")
    expect(eda.locator("tbody tr")).to_contain_text("Good luck")
    assert Entitlement.objects.get(slug="eve-chat-8b").base_concurrency == 8

    olga.click("#toasts .undo")
    expect(olga.locator("#toasts")).to_contain_text("what was promised is as it was before")
    assert Entitlement.objects.get(slug="eve-chat-8b").base_concurrency == 5
    olga.fill("#id_reason", "Not this week")
    olga.click("text=Deny")
    expect(olga.locator("#toasts")).to_contain_text("Denied")
    olga.click("#toasts .undo")
    expect(olga.locator("#toasts")).to_contain_text("waits again.")
    eda.reload()
    eda.click("text=Withdraw")
    expect(eda.locator("tbody tr")).to_contain_text("Withdrawn")
    eda.click("#toasts .undo")
    expect(eda.locator("tbody tr")).to_contain_text("Waiting for an operator")
    assert complaints(site) == []


def test_live_numbers_move_and_rows_stay(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/entitlements/")
    row = page.locator(f'tr[data-row="{site.world.eve.pk}"]')
    expect(row.locator('[data-cell="headroom"]')).to_have_text("50\u00a0%")
    before = page.locator("tbody tr").evaluate_all(
        "rows => rows.map(r => [r.dataset.row, r.getBoundingClientRect().top])"
    )
    site.publish(busy=0.9)
    expect(row.locator('[data-cell="headroom"]')).to_have_text("10\u00a0%")
    expect(row.locator('[data-cell="use"] .nums')).to_have_text("135 of 150\u00a0tok/s")
    expect(page.locator("#grid-age")).to_have_attribute("data-state", "live")
    after = page.locator("tbody tr").evaluate_all(
        "rows => rows.map(r => [r.dataset.row, r.getBoundingClientRect().top])"
    )
    assert before == after, "no row moves while numbers do"
    row.locator("td").nth(3).click()
    page.wait_for_url(f"{site.address}/entitlements/eve-chat-8b/")
    expect(page.locator('[data-tile="2"] [data-part=text]')).to_have_text("9 of 10\u00a0slots")
    site.publish(busy=0.2)
    expect(page.locator('[data-tile="2"] [data-part=text]')).to_have_text("2 of 10\u00a0slots")
    assert complaints(site) == []


def test_columns_density_views_by_keyboard(site: Site, opens: Opens) -> None:
    page = opens("olga@example.org", "/entitlements/")
    page.locator("summary", has_text="Columns").focus()
    page.keyboard.press("Enter")
    page.uncheck('#column-form input[value="kv"]')
    page.check('#column-form input[value="class"]')
    page.click("#column-form button")
    page.wait_for_url(re.compile("cols=class"))
    heads = [text.strip(" ↑") for text in page.locator("thead th").all_inner_texts()]
    assert "Class" in heads and "KV cache" not in heads
    page.click("text=Dense")
    page.locator("summary", has_text="Keep this view").click()
    page.fill("#view-name", "Lean")
    page.click(".views .drop-body button")
    expect(page.locator(".views a[aria-current]")).to_have_text("Lean")
    page.select_option("select[name=state]", "suspended")
    expect(page.locator(".empty-state")).to_contain_text("No entitlement matches")
    page.locator("summary", has_text="More").click()
    page.keyboard.press("Escape")
    expect(page.locator("details.drop[open]")).to_have_count(0)
    assert complaints(site) == []
