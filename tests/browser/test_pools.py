"""Pools in a browser: the wizard to a created pool, an endpoint drained and taken back, a profile version previewed."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from pools.models import CapacityProfile, Endpoint, Pool
from pools.services.endpoint_rolling import rolling_step
from portal.lib.clock import now
from tests.browser.conftest import Opens, Site
from tests.browser.test_look import serious
from tests.cast import promise, replica_ready, slots, tenant_make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OLGA = "olga@example.org"


def step_of(page: Page) -> str:
    """The wizard's present step."""
    return page.locator(".wizard-steps [aria-current=step]").inner_text()


def test_the_wizard_leads_to_a_pool_and_loses_nothing(site: Site, opens: Opens) -> None:
    page = opens(OLGA, "/pools/")
    page.get_by_role("link", name="New pool").click()
    expect(page.locator("#id_slug")).to_have_value("llama-3-1-8b")
    page.select_option("#id_shape", "qwen2.5-7b")
    expect(page.locator("#id_slug")).to_have_value("qwen2-5-7b")
    expect(page.locator("#id_layers")).to_have_attribute("placeholder", "28")
    page.fill("#id_slug", "support")
    page.fill("#id_name", "Support دعم 🎧")
    page.get_by_role("button", name="Next: one replica").click()
    expect(page.locator("#preview")).to_contain_text("KV cache")
    before = page.locator("#preview .preview-sentence").inner_text()
    page.select_option("#id_device", "l4")
    expect(page.locator("#preview .preview-sentence")).not_to_have_text(before)
    expect(page.locator("#preview")).to_contain_text("1 × 24 GiB")
    page.get_by_role("button", name="Next: how many").click()
    page.fill("#id_max_replicas", "5")
    expect(page.locator("#preview")).to_contain_text("with 5, the largest number")
    page.get_by_role("button", name="Back").click()
    expect(page.locator("#id_device")).to_have_value("l4")
    page.go_back()
    assert "How many" in step_of(page)
    page.fill("#id_max_replicas", "5")
    page.get_by_role("button", name="Next: where from").click()
    page.select_option("#id_provider", "static")
    page.fill("#id_provider_urls", "http://10.0.0.1:8000\nhttp://10.0.0.2:8000")
    page.get_by_role("button", name="Next: review").click()
    expect(page.locator("#errors")).to_contain_text("2 URLs are listed")
    assert "How many" in step_of(page)
    page.fill("#id_max_replicas", "2")
    page.get_by_role("button", name="Next: where from").click()
    expect(page.locator("#id_provider_urls")).to_have_value("http://10.0.0.1:8000\nhttp://10.0.0.2:8000")
    page.get_by_role("button", name="Next: review").click()
    assert "Review" in step_of(page)
    page.fill("#id_reason", "for the support team")
    page.get_by_role("button", name="Create the pool").click()
    expect(page.locator("h1")).to_have_text("support")
    pool = Pool.objects.get(slug="support")
    assert (pool.name, pool.max_replicas, pool.provider) == ("Support دعم 🎧", 2, "static")
    assert pool.current_profile is not None and pool.current_profile.layers == 28
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(page.locator("#toasts")).to_contain_text("archived again")
    pool.refresh_from_db()
    assert pool.archived_at is not None
    assert [text for text in site.complaints if "422" not in text] == []


def test_an_endpoint_is_drained_by_its_typed_name_and_taken_back(site: Site, opens: Opens) -> None:
    endpoint = Endpoint.objects.get()
    Endpoint.objects.update(running=4, waiting=1)
    page = opens(OLGA, "/pools/chat-8b/")
    page.get_by_role("link", name=f"Drain {endpoint.name}").click()
    dialog = page.locator("#deed-dialog")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("4 running, 1 waiting")
    expect(dialog).to_contain_text("only ready replica")
    expect(dialog).to_contain_text("its promise could not be kept")
    assert serious(page) == []
    button = dialog.get_by_role("button", name="Drain it")
    expect(button).to_be_disabled()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("link", name=f"Drain {endpoint.name}").click()
    dialog.locator("#deed-word").fill("chat")
    expect(button).to_be_disabled()
    dialog.locator("#deed-word").fill(endpoint.name)
    dialog.locator("#deed-reason").fill("kernel update")
    button.click()
    expect(page.locator("#toasts")).to_contain_text("drains; its last stream ends by itself")
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.asked) == ("draining", "drain")
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(page.locator("#toasts")).to_contain_text("serves again")
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.asked) == ("ready", "")
    assert site.complaints == []


def test_all_endpoints_are_restarted_one_by_one_with_visible_progress(site: Site, opens: Opens) -> None:
    pool = site.world.pool
    replica_ready(pool, 2)
    Pool.objects.update(wanted_replicas=2)
    Endpoint.objects.update(running=4, waiting=1)
    page = opens(OLGA, "/pools/chat-8b/")
    page.get_by_role("link", name="Restart all, one after the other").click()
    dialog = page.locator("#deed-dialog")
    expect(dialog).to_contain_text("Restart all 2 endpoints of chat-8b, one after the other?")
    expect(dialog).to_contain_text("8 running, 2 waiting on 2 endpoints")
    expect(dialog).to_contain_text("While one is away:")
    assert serious(page) == []
    button = dialog.get_by_role("button", name="Restart one by one")
    expect(button).to_be_disabled()
    dialog.locator("#deed-word").fill("chat-8b")
    dialog.locator("#deed-reason").fill("new driver")
    button.click()
    expect(page.locator("#toasts")).to_contain_text("2 endpoints are restarted, one after the other")
    rolling_step(pool.pk, now())
    panel = page.locator(".rolling")
    expect(panel).to_contain_text("Rolling restart: 0 of 2")
    expect(panel).to_contain_text("chat-8b-1 takes no new request; 4 running and 1 waiting there end first.")
    assert serious(page) == []
    Endpoint.objects.filter(name="chat-8b-1").update(state="stopped", state_since=now())
    new = replica_ready(pool, 3)
    Endpoint.objects.filter(pk=new.pk).update(ordinal=0)
    rolling_step(pool.pk, now())
    expect(panel).to_contain_text("Rolling restart: 1 of 2")
    expect(panel.locator("progress")).to_have_attribute("value", "1")
    expect(panel.locator(".chip")).to_have_text("now chat-8b-2")
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(page.locator("#toasts")).to_contain_text("chat-8b-2 still finishes its restart; 0 of 2 were left alone")
    expect(panel).to_contain_text("Rolling restart cancelled")
    assert site.complaints == []


def test_a_profile_version_is_previewed_published_compared_and_taken_back(site: Site, opens: Opens) -> None:
    page = opens(OLGA, "/pools/chat-8b/profiles/")
    page.get_by_role("link", name="New version").click()
    expect(page.locator("#preview")).to_contain_text("Nobody would notice now.")
    page.fill("#id_max_num_seqs", "4")
    page.check("[name=applies][value=running]")
    expect(page.locator("#preview")).to_contain_text("its promise could not be kept")
    page.fill("#id_max_num_seqs", "zero")
    expect(page.locator("#preview")).to_contain_text("write a whole number")
    page.fill("#id_max_num_seqs", "24")
    expect(page.locator("#preview")).to_contain_text("24 slots")
    page.fill("#id_reason", "measured on the new driver")
    page.get_by_role("button", name="Publish v2").click()
    expect(page.locator("main")).to_contain_text("Sequences at once 16\u00a0sequences → 24\u00a0sequences")
    page.get_by_role("link", name="Compare v2").click()
    expect(page.locator("#compared .differs")).to_have_count(1)
    assert CapacityProfile.objects.count() == 2


def test_settings_show_what_they_do_and_a_refusal_keeps_what_was_typed(site: Site, opens: Opens) -> None:
    page = opens(OLGA, "/pools/chat-8b/settings/")
    expect(page.locator("#preview")).to_contain_text("Nothing differs")
    page.fill("#id_max_replicas", "0")
    expect(page.locator("#preview")).to_contain_text("1 to 10,000 replicas")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#errors")).to_be_focused()
    expect(page.locator("#id_max_replicas")).to_have_value("0")
    page.fill("#id_max_replicas", "6")
    page.fill("#id_alpha_debt", "1")
    expect(page.locator("#preview .changed")).to_contain_text("4\u00a0replicas → 6\u00a0replicas")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#toasts")).to_contain_text("changed largest number, pull of debt")
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(page.locator("#toasts")).to_contain_text("taken back")
    assert Pool.objects.get().max_replicas == 4


def test_a_number_by_hand_stands_on_the_pools_page_until_it_is_lifted(site: Site, opens: Opens) -> None:
    page = opens(OLGA, "/pools/chat-8b/hold/")
    page.fill("#id_replicas", "3")
    expect(page.locator("#preview")).to_contain_text("Slots, ready")
    page.get_by_role("button", name="Hold").click()
    expect(page.locator("#error_reason")).to_be_visible()
    page.fill("#id_reason", "load test")
    page.get_by_role("button", name="Hold").click()
    page.goto(f"{site.address}/pools/chat-8b/")
    expect(page.locator("#held")).to_contain_text("load test")
    page.locator("#held").get_by_role("button", name="Lift it now").click()
    expect(page.locator("#held")).to_have_count(0)


def test_a_hold_whose_preview_has_moved_is_refused_with_the_fresh_one(site: Site, opens: Opens) -> None:
    page = opens(OLGA, "/pools/chat-8b/hold/")
    page.fill("#id_replicas", "2")
    page.fill("#id_reason", "load test")
    expect(page.locator("#preview")).to_contain_text("32 ▲ from 16")
    replica_ready(site.world.pool, 2)
    page.get_by_role("button", name="Hold").click()
    expect(page.locator("#errors")).to_be_focused()
    expect(page.locator("#errors")).to_contain_text("moved after the preview was made")
    expect(page.locator("#id_reason")).to_have_value("load test")
    expect(page.locator("#preview")).to_contain_text("Slots, ready")
    expect(page.locator("#preview")).not_to_contain_text("from 16")
    assert Pool.objects.get().manual_replicas is None
    page.get_by_role("button", name="Hold").click()
    expect(page.locator("#toasts")).to_contain_text("is held at 2 replicas")
    assert [text for text in site.complaints if "412" not in text] == []


def test_a_crowded_pool_shows_more_and_follows_only_what_it_shows(site: Site, opens: Opens) -> None:
    Pool.objects.update(max_replicas=100)
    for number in range(60):
        promise(site.world.pool, tenant_make(f"team-{number:02}"), site.world.eve.tier, slots(1))
    site.publish()
    page = opens(OLGA, "/pools/chat-8b/")
    rows = page.locator("#rows tr[data-entitlement]")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Show 50 more").click()
    expect(rows).to_have_count(63)
    page.get_by_label("Search the entitlements of this pool").fill("team-0")
    expect(rows).to_have_count(10)
    page.wait_for_url("**/pools/chat-8b/?*q=team-0")
    site.publish(busy=0.25)
    cell = rows.first.locator("[data-cell='2'] .nums")
    expect(cell).to_have_text("0.5 of 2\u00a0slots")
    assert site.complaints == []
