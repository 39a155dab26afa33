"""The pages of entitlements: grid, forms with the fit, what two editors see, suspend and undo, history."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.http import HttpResponse
from django.test import Client

from pools.models import Entitlement, SavedView
from pools.selectors.grid import COLUMNS
from portal.accounts.models import User
from portal.audit.models import AuditRecord
from portal.dashboards.templatetags.portal_grid import CELLS
from tests.cast import pool_make, promise, slots, tenant_make, tier_make
from tests.portal_cast import publish
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
FORM = {
    "tenant": "carol",
    "pool": "chat-8b",
    "tier": "elastic",
    "base_concurrency": "3",
    "base_tokens_per_second": "45",
    "base_kv_bytes": "192 MiB",
    "reason": "trial",
}


@pytest.fixture
def olga(everybody: Everybody, as_: As) -> Client:
    return as_(everybody.olga)


def rows(answer: HttpResponse) -> list[str]:
    """Ids of the shown rows."""
    return re.findall(r'data-row="(\d+)"', answer.content.decode())


def said(answer: HttpResponse) -> str:
    """The text of a page, on one line."""
    text = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return " ".join(text.replace("\xa0", " ").split())


# ---- grid


def test_filters_sort_and_search_live_in_the_address(everybody: Everybody, olga: Client) -> None:
    world = everybody.world
    assert len(rows(olga.get("/entitlements/"))) == 3
    assert rows(olga.get("/entitlements/?q=eve")) == [str(world.eve.pk)]
    assert rows(olga.get("/entitlements/?class=spot")) == [str(world.bob.pk)]
    assert rows(olga.get("/entitlements/?tier=guaranteed&pool=chat-8b")) == [str(world.alice.pk)]
    assert rows(olga.get("/entitlements/?sort=-tenant")) == [str(r.pk) for r in (world.eve, world.bob, world.alice)]
    answer = olga.get("/entitlements/?sort=-tenant")
    assert 'aria-sort="descending"' in answer.content.decode()
    assert "No entitlement matches these filters" in said(olga.get("/entitlements/?q=nobody"))


def test_columns_density_and_live_numbers(everybody: Everybody, olga: Client) -> None:
    answer = olga.get("/entitlements/?cols=slug&cols=class&cols=headroom&dense=1")
    text = answer.content.decode()
    heads = re.findall(r'class="h-(\w+)', text)
    assert heads == ["slug", "class", "headroom"] and "rows dense" in text
    assert "50 %" in said(answer), "half of everything is free in the fixture"
    assert "owed 20 %" in said(olga.get("/entitlements/"))
    found = olga.get(f"/entitlements/live/?ids={everybody.world.eve.pk},999,x").json()
    assert [row[0] for row in found["rows"]] == [everybody.world.eve.pk] and found["at"]


def test_below_use_right_now(everybody: Everybody, olga: Client) -> None:
    assert rows(olga.get("/entitlements/?below=1")) == []
    publish(everybody.world.pool, below=[everybody.world.bob.pk])
    assert rows(olga.get("/entitlements/?below=1")) == [str(everybody.world.bob.pk)]
    assert "1 matching entitlement" in said(olga.get("/entitlements/bulk/?all=1&below=1"))


def test_csv_has_every_match_and_no_formula(everybody: Everybody, olga: Client) -> None:
    everybody.world.eve.tenant.__class__.objects.filter(pk=everybody.world.eve.tenant_id).update(name="=1+1")
    answer = olga.get("/entitlements/rows.csv?class=elastic")
    assert answer["Content-Type"].startswith("text/csv")
    head, *lines = csv.reader(io.StringIO(answer.content.decode()))
    assert head[0] == "entitlement" and [line[0] for line in lines] == ["eve-chat-8b"]


def test_views_are_kept_shared_and_forgotten(everybody: Everybody, as_: As, olga: Client) -> None:
    ada = as_(everybody.ada)
    olga.post("/entitlements/views/", {"name": "Mine", "query": "state=pending"})
    olga.post("/entitlements/views/", {"name": "Ours", "query": "state=bound", "shared": "1"})
    ada.post("/entitlements/views/", {"name": "Ada's", "query": "q=a", "shared": "1"})
    assert not SavedView.objects.get(name="Ada's").shared, "an auditor keeps views for herself only"
    seen = said(ada.get("/entitlements/"))
    assert "Ours" in seen and "Mine" not in seen and "Ada" in seen
    theirs = SavedView.objects.get(name="Ours")
    assert ada.post(f"/entitlements/views/{theirs.pk}/delete/").status_code == 404
    assert "Forget the view Ours" in olga.get("/entitlements/?state=bound").content.decode()
    answer = olga.post(f"/entitlements/views/{theirs.pk}/delete/", follow=True)
    assert "is gone" in said(answer) and not SavedView.objects.filter(name="Ours").exists()
    assert "Give the view a name" in said(olga.post("/entitlements/views/", {"name": " "}, follow=True))


def test_auditors_see_no_deeds(everybody: Everybody, as_: As) -> None:
    ada = as_(everybody.ada)
    for at in ("/entitlements/", f"/entitlements/{everybody.world.eve.slug}/"):
        text = ada.get(at).content.decode()
        assert "New entitlement" not in text and "Suspend" not in text and 'name="pick"' not in text


def test_names_that_break_pages(everybody: Everybody, olga: Client) -> None:
    name = "مصرف <b>الخليج</b> 🚀" + "x" * 150
    type(everybody.world.eve.tenant).objects.filter(pk=everybody.world.eve.tenant_id).update(name=name)
    for at in ("/entitlements/", f"/entitlements/{everybody.world.eve.slug}/", "/entitlements/bulk/?all=1"):
        answer = olga.get(at)
        assert answer.status_code == 200 and b"<b>\xd8" not in answer.content


# ---- create, check


def test_a_new_one_is_promised_and_can_be_undone(everybody: Everybody, olga: Client) -> None:
    tenant_make("carol")
    answer = olga.post("/entitlements/new/", FORM)
    made = Entitlement.objects.get(tenant__slug="carol")
    assert answer.status_code == 302 and answer["Location"] == f"/entitlements/{made.slug}/"
    assert (made.base_concurrency, made.base_kv_bytes, made.cap_concurrency) == (3, 192 * 1024**2, None)
    text = olga.get(answer["Location"]).content.decode()
    assert "is promised" in text
    back = re.search(r'action="(/entitlements/[^"]+/undo/\d+/)"', text)
    assert back is not None
    olga.post(back.group(1))
    made.refresh_from_db()
    assert made.state == "expired"


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"tenant": "nobody"}, "tenant", "There is no tenant"),
        ({"base_kv_bytes": "much"}, "base_kv_bytes", "Write bytes such as"),
        ({"tier": "spot"}, "base_concurrency", "must be 0"),
        ({"tier": "guaranteed", "base_concurrency": ""}, "base_concurrency", "above 0"),
        ({"valid_until": "2001-01-01T00:00"}, "valid_until", "ends before it begins"),
        ({"slug": "jobs"}, "slug", "address of a page"),
        ({"base_concurrency": "4000"}, None, "cannot promise this"),
    ],
)
def test_what_is_wrong_is_said_beside_the_field_and_nothing_typed_is_lost(
    changes: dict[str, str], field: str | None, words: str, everybody: Everybody, olga: Client
) -> None:
    tenant_make("carol")
    answer = olga.post("/entitlements/new/", {**FORM, **changes})
    text = answer.content.decode()
    assert answer.status_code == 422 and words in said(answer)
    assert not Entitlement.objects.filter(tenant__slug="carol").exists()
    assert 'value="trial"' in text
    if field is not None:
        assert f'href="#id_{field}"' in text and f'id="error_{field}"' in text


def check(client: Client, **changes: str) -> str:
    return said(client.post("/entitlements/check/", {**FORM, **changes}))


def test_the_fit_is_told_while_one_types(everybody: Everybody, olga: Client) -> None:
    assert check(olga).startswith("Fits now 1 replica is ready")
    scaled = check(olga, base_concurrency="20")
    assert "Fits after scaling to 2 replicas: now short of 15 slots" in scaled
    never = check(olga, base_concurrency="90", base_tokens_per_second="2000")
    assert "Does not fit: short of" in never and "Not even 4 replicas" in never
    assert "Little" in check(olga, tier="elastic", base_concurrency="12")
    assert "promises nothing, so it always fits" in check(
        olga, tier="spot", base_concurrency="", base_tokens_per_second="", base_kv_bytes="",
        cap_concurrency="2", cap_tokens_per_second="9", cap_kv_bytes="1 MiB",
    )  # fmt: skip
    assert "Choose a pool and a tier" in check(olga, tenant="", pool="", tier="")
    assert "Write bytes such as" in check(olga, base_kv_bytes="3 bananas")
    assert "3 slots of this pool are" in check(olga), "an offer to fill the other two"


def test_the_fit_says_when_a_shortage_begins(everybody: Everybody, olga: Client) -> None:
    begins = datetime(2090, 12, 3, tzinfo=UTC)
    world = everybody.world
    promise(world.pool, tenant_make("later"), world.alice.tier, slots(50), valid_from=begins)
    assert "Does not fit from 2090-12-03 00:00 : short of 1 slot Not even" in check(olga, base_concurrency="4")
    assert check(olga, base_concurrency="4", valid_until="2090-12-03T00:00").startswith("Fits now")
    after = check(olga, base_concurrency="3")
    assert "Fits after scaling to 4 replicas, needed from 2090-12-03 00:00 : then short of" in after


def test_a_pool_without_replicas_is_checked_too(everybody: Everybody, olga: Client) -> None:
    pool_make("empty", max_replicas=3)
    assert "0 of at most 3 replicas are ready" in check(olga, pool="empty")


# ---- edit, conflict


def edit_form(client: Client, slug: str) -> dict[str, str]:
    """What the browser would send back untouched."""
    text = client.get(f"/entitlements/{slug}/edit/").content.decode()
    pairs = re.findall(r'<input[^>]* name="([\w]+)"[^>]*? value="([^"]*)"', text)
    from html import unescape

    found = {name: unescape(value) for name, value in pairs if name != "csrfmiddlewaretoken"}
    found["tier"] = re.search(r'<option value="([^"]+)" selected', text).group(1)  # type: ignore[union-attr]
    return found


def test_an_untouched_form_changes_nothing(everybody: Everybody, olga: Client) -> None:
    eve = everybody.world.eve
    answer = olga.post(f"/entitlements/{eve.slug}/edit/", edit_form(olga, eve.slug))
    assert answer.status_code == 302
    eve.refresh_from_db()
    assert eve.revision == 1 and not AuditRecord.objects.filter(verb="entitlement_change").exists()


def test_an_edit_is_kept_with_its_reason(everybody: Everybody, olga: Client) -> None:
    eve = everybody.world.eve
    olga.post(
        f"/entitlements/{eve.slug}/edit/",
        {
            **edit_form(olga, eve.slug),
            "base_concurrency": "7",
            "valid_until": "2030-01-01T00:00",
            "reason": "asked for",
        },
    )
    eve.refresh_from_db()
    assert (eve.base_concurrency, eve.revision) == (7, 2) and eve.valid_until is not None
    page = said(olga.get(f"/entitlements/{eve.slug}/"))
    assert "asked for" in page and "Undo the last change" in page


def test_two_editors_the_second_sees_what_changed_and_loses_nothing(everybody: Everybody, as_: As) -> None:
    eve = everybody.world.eve
    olga, root = as_(everybody.olga), as_(everybody.root)
    mine, theirs = edit_form(olga, eve.slug), edit_form(root, eve.slug)
    gold = tier_make("elastic", "gold")
    root.post(
        f"/entitlements/{eve.slug}/edit/",
        {**theirs, "base_concurrency": "6", "tier": gold.slug, "reason": "their reason"},
    )
    mine |= {"base_concurrency": "8", "reason": "my reason"}
    answer = olga.post(f"/entitlements/{eve.slug}/edit/", mine)
    text, words = answer.content.decode(), said(answer)
    assert answer.status_code == 412
    assert "root@example.org changed this entitlement while you edited it" in words and "their reason" in words
    assert "base_concurrency : 5 → 6 ; yours is 8" in words and "tier : elastic → gold (taken over)" in words
    assert 'value="8"' in text and 'value="my reason"' in text and '<option value="gold" selected' in text
    eve.refresh_from_db()
    assert eve.base_concurrency == 6, "nothing was overwritten"
    again = {**mine, "revision": "2", "tier": "gold"}
    assert olga.post(f"/entitlements/{eve.slug}/edit/", again).status_code == 302
    eve.refresh_from_db()
    assert (eve.base_concurrency, eve.tier.slug, eve.revision) == (8, "gold", 3)


def test_an_ended_one_is_not_edited(everybody: Everybody, olga: Client) -> None:
    slug = everybody.world.bob.slug
    assert "type bob-chat-8b to confirm" in said(olga.post(f"/entitlements/{slug}/end/", {"confirm": "x"}, follow=True))
    assert "has ended" in said(olga.post(f"/entitlements/{slug}/end/", {"confirm": slug}, follow=True))
    assert olga.get(f"/entitlements/{slug}/edit/").status_code == 302
    page = olga.get(f"/entitlements/{slug}/")
    assert page.status_code == 200 and "It has ended" in said(page) and "Edit" not in said(page)


# ---- suspend, undo, detail


def test_suspend_and_resume_offer_an_undo(everybody: Everybody, olga: Client) -> None:
    slug = everybody.world.eve.slug
    text = olga.post(f"/entitlements/{slug}/suspend/", follow=True).content.decode()
    assert "is suspended" in text and "Resume" in text
    back = re.search(r'action="(/entitlements/[^"]+/undo/\d+/)"', text)
    assert back is not None
    assert "is as it was before" in said(olga.post(back.group(1), follow=True))
    assert Entitlement.objects.get(slug=slug).state == "pending"
    again = said(olga.post(back.group(1), follow=True))
    assert "was changed again since" in again, "an old undo does nothing"
    assert "not suspended" in said(olga.post(f"/entitlements/{slug}/resume/", follow=True))


def test_the_detail_page_says_how_it_stands(everybody: Everybody, olga: Client) -> None:
    page = said(olga.get(f"/entitlements/{everybody.world.eve.slug}/"))
    assert "It comes up to its limit again and again: 6 requests a minute are refused; " in page
    assert "5 of 10 slots" in page and "promised 5 slots" in page and "bursts to 10 slots" in page
    found = olga.get(f"/entitlements/{everybody.world.eve.slug}/charts/?range=1h").json()
    assert {"tokens", "kv", "slots", "refused", "range", "empty"} <= set(found)
    live = olga.get(f"/entitlements/{everybody.world.eve.slug}/live/").json()
    assert [row[0] for row in live["rows"]] == [everybody.world.eve.pk]
    assert olga.get("/entitlements/nobody-nowhere/").status_code == 404


def test_every_column_has_a_cell(everybody: Everybody, olga: Client) -> None:
    assert set(CELLS) == set(COLUMNS)
    text = olga.get("/entitlements/?cols=" + ",".join(COLUMNS)).content.decode()
    body = re.search(r"<tbody>(.*?)</tbody>", text, re.DOTALL)
    assert body is not None
    assert [row.count("<td") + row.count("<th") for row in body.group(1).split("</tr>")[:3]] == [len(COLUMNS) + 1] * 3
