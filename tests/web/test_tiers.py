"""Tiers in the browser's words: list, page, new, edit with its preview, refusals that lose nothing, who may not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils.html import escape

from pools.models import Tier, TierDraft, TierVersion
from pools.services.entitlements import entitlement_change
from pools.services.tiers import TierTerms, tier_publish
from pools.web.tier_form import FIELDS, GROUPS, typed_of, typed_read
from portal.accounts.models import User
from portal.audit.models import AuditRecord
from portal.lib.clock import now
from tests.cast import NOW, OLGA, tier_make
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
EDIT = "/tiers/elastic/edit/"


def typed(**changes: str) -> dict[str, str]:
    """The form of the elastic tier as it opens, some fields typed over."""
    return {**typed_of(TierTerms.of_class("elastic")), "base": "1", **changes}


def token_for(client: Client, data: Mapping[str, str]) -> str:
    """The token of the preview that the panel shows for these terms."""
    return token_in(client.post("/tiers/elastic/preview/", data))


def token_in(answer: Any) -> str:
    found = re.search(r'name="token" value="([^"]+)"', text_of(answer))
    assert found, text_of(answer)
    return found.group(1)


def text_of(answer: Any) -> str:
    assert isinstance(answer, HttpResponse)
    return answer.content.decode()


def toast_of(client: Client) -> str:
    return text_of(client.get("/tiers/elastic/"))


def elastic() -> Tier:
    return Tier.objects.select_related("current", "shadow").get(slug="elastic")


def in_force() -> TierVersion:
    current = elastic().current
    assert current is not None
    return current


@pytest.fixture
def olga(everybody: Everybody, as_: As) -> Client:
    return as_(everybody.olga)


def test_the_list_says_what_is_in_force_and_coming(olga: Client) -> None:
    at = now()
    tier_publish(
        actor=OLGA,
        now=at,
        tier_id=elastic().pk,
        terms=TierTerms.of_class("elastic", slo_ms=9),
        starts=at.replace(year=at.year + 1),
    )
    text = text_of(olga.get("/tiers/"))
    assert text.index(">guaranteed</span>") < text.index(">elastic</span>") < text.index(">spot</span>")
    assert "v2 begins" in text and "?tier=elastic" in text and "New tier" in text
    assert "No tier passes these filters" in text_of(olga.get("/tiers/?q=nobody"))
    assert text_of(olga.get("/tiers/?class=spot")).count("/tiers/spot/") == 1


def test_a_long_list_has_pages(olga: Client) -> None:
    for number in range(60):
        tier_make("elastic", f"e{number:02}")
    first = text_of(olga.get("/tiers/"))
    link = re.search(r'href="(\?[^"]*after=[^"]+)" rel="next"', first)
    assert link
    second = text_of(olga.get("/tiers/" + link.group(1).replace("&amp;", "&")))
    names = [set(re.findall(r'href="/tiers/([a-z0-9]+)/" title', page)) for page in (first, second)]
    assert len(names[0]) == 50 and not names[0] & names[1] and len(names[0] | names[1]) == 63


def test_every_term_is_explained(olga: Client) -> None:
    text = text_of(olga.get(EDIT))
    for field in FIELDS:
        assert f'name="{field.name}"' in text and str(escape(field.sentence)) in text, field.name
        fixed = field.kind == "choice" or field.name == "lendable_share"
        assert fixed or str(escape(field.range_text)) in text
    assert [text.index(f"<legend>{group}</legend>") for group in GROUPS] == sorted(
        text.index(f"<legend>{group}</legend>") for group in GROUPS
    )
    assert 'class="skeleton"' in text, "the panel has its place before the first answer"


@pytest.mark.parametrize("service_class", ["dedicated", "guaranteed", "elastic", "spot", "preemptible"])
def test_terms_read_back_as_they_were_written(service_class: str) -> None:
    terms = TierTerms.of_class(service_class, class_weight=0.125, price_input_micro=1_234_567, hold_ms=7)
    read = typed_read(typed_of(terms), service_class)
    assert read.errors == {} and read.terms is not None
    assert read.terms.canonical() == terms.canonical()


def test_the_panel_previews_and_changes_nothing(olga: Client) -> None:
    before = AuditRecord.objects.count()
    answer = olga.post("/tiers/elastic/preview/", typed(burst_concurrency="1.2"))
    text = text_of(answer)
    assert "Eve" in text and "Replicas wanted" in text and "Cost a month" in text
    assert token_in(answer)
    assert (AuditRecord.objects.count(), TierVersion.objects.filter(tier=elastic()).count()) == (before, 1)
    waits = text_of(olga.post("/tiers/elastic/preview/", typed(burst_concurrency="lots")))
    assert "got “lots”" in waits and "token" not in waits


def test_publish_with_the_previewed_token(olga: Client) -> None:
    data = typed(burst_concurrency="1.2", slo_ms="700", reason="Calmer nights")
    answer = olga.post(EDIT, {**data, "deed": "publish", "token": token_for(olga, data)})
    assert (answer.status_code, answer["Location"]) == (302, "/tiers/elastic/")
    version = in_force()
    assert (version.number, version.slo_ms, str(version.burst_concurrency)) == (2, 700, "1.200")
    assert (version.reason, version.author_label) == ("Calmer nights", "olga@example.org")
    page = toast_of(olga)
    assert "v2 of elastic is in force" in page and "/tiers/elastic/undo/2/" in page
    olga.post("/tiers/elastic/undo/2/")
    assert (in_force().number, in_force().slo_ms) == (3, 1000)
    assert in_force().reverts is not None
    late = olga.post("/tiers/elastic/undo/2/", follow=True)
    assert "at version 3 by now" in text_of(late) and in_force().number == 3


def test_bad_terms_lose_nothing(olga: Client) -> None:
    data = typed(burst_tokens="0.5", slo_ms="soon", hold_ms="9999", reason="Why not <b>", deed="publish")
    answer = olga.post(EDIT, data)
    text = text_of(answer)
    assert answer.status_code == 422 and in_force().number == 1
    for name, value in (("burst_tokens", "0.5"), ("slo_ms", "soon"), ("hold_ms", "9999")):
        assert f'href="#id_{name}"' in text and f'name="{name}" value="{value}"' in text
        assert f'id="error_{name}"' in text
    assert 'value="Why not &lt;b&gt;"' in text


@pytest.mark.parametrize(
    ("service_class", "name", "value", "sentence"),
    [
        ("guaranteed", "burst_kv", "2", "never bursts"),
        ("elastic", "lendable_share", "10", "reserves nothing"),
        ("elastic", "default_max_tokens", "5000", "is above"),
        ("elastic", "slo_ms", "1.5", "whole number"),
        ("elastic", "class_weight", "nan", "0.001 to 1,000,000"),
        ("elastic", "price_output_micro", "-1", "0 to"),
        ("elastic", "fail_mode", "maybe", "choose one"),
        ("elastic", "hold_ms", "", "got nothing"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(service_class: str, name: str, value: str, sentence: str) -> None:
    read = typed_read({**typed_of(TierTerms.of_class(service_class)), name: value}, service_class)
    assert read.terms is None and sentence in " ".join(read.errors.values())


@pytest.mark.parametrize("token", ["", "forged"])
def test_what_was_not_previewed_is_shown_first(olga: Client, token: str) -> None:
    data = typed(slo_ms="700", deed="publish", token=token)
    answer = olga.post(EDIT, data)
    assert answer.status_code == 409 and in_force().number == 1
    assert "were not previewed" in text_of(answer) and "Replicas wanted" in text_of(answer)
    again = olga.post(EDIT, {**data, "token": token_in(answer)})
    assert again.status_code == 302 and in_force().slo_ms == 700


def test_a_stale_preview_is_refused_with_the_fresh_one(olga: Client, everybody: Everybody) -> None:
    data = typed(slo_ms="700")
    token = token_for(olga, data)
    changes = {"cap_concurrency": 9, "cap_kv_bytes": 10**12, "cap_tokens_per_second": 900}
    entitlement_change(actor=OLGA, now=now(), entitlement_id=everybody.world.bob.pk, changes=changes)
    answer = olga.post(EDIT, {**data, "deed": "publish", "token": token})
    assert answer.status_code == 409 and "moved after the preview was made" in text_of(answer)
    assert 'name="slo_ms" value="700"' in text_of(answer)
    assert olga.post(EDIT, {**data, "deed": "publish", "token": token_in(answer)}).status_code == 302


def test_two_edits_meet_and_are_merged(olga: Client) -> None:
    theirs = TierTerms.of_class("elastic", hold_ms=100, class_weight=50.0)
    data = typed(slo_ms="700", class_weight="30", deed="publish", reason="mine")
    token = token_for(olga, data)
    tier_publish(actor=OLGA, now=now(), tier_id=elastic().pk, terms=theirs, reason="theirs, first")
    answer = olga.post(EDIT, {**data, "token": token})
    text = text_of(answer)
    assert answer.status_code == 412 and in_force().number == 2
    assert "your edit began at 1" in text and "theirs, first" in text and "Replicas wanted" in text
    for name, side in (("hold_ms", "theirs"), ("class_weight", "ours"), ("slo_ms", "ours")):
        assert f'name="take-{name}" value="{side}" checked' in text, name
    merged = text_of(olga.post(EDIT, {**data, "deed": "merge", "take-class_weight": "theirs"}))
    for name, value in (
        ("hold_ms", "100"),
        ("class_weight", "50"),
        ("slo_ms", "700"),
        ("base", "2"),
        ("reason", "mine"),
    ):
        assert f'name="{name}" value="{value}"' in merged, name
    final = typed(hold_ms="100", class_weight="50", slo_ms="700", base="2")
    assert olga.post(EDIT, {**final, "deed": "publish", "token": token_for(olga, final)}).status_code == 302
    assert (in_force().number, in_force().hold_ms, in_force().slo_ms, in_force().class_weight) == (3, 100, 700, 50.0)


def test_the_second_may_discard(olga: Client, everybody: Everybody) -> None:
    olga.post(EDIT, typed(slo_ms="700", deed="draft"))
    tier_publish(actor=OLGA, now=now(), tier_id=elastic().pk, terms=TierTerms.of_class("elastic", hold_ms=9))
    assert "Two edits met" in text_of(olga.get(EDIT)), "an old draft says so before anything is typed"
    assert olga.post(EDIT, typed(deed="discard")).status_code == 302
    assert not TierDraft.objects.filter(gone=False).exists()
    assert 'name="hold_ms" value="9"' in text_of(olga.get(EDIT))


def undo_in(page: str) -> str:
    """Where the Undo button of the newest toast leads."""
    found: list[str] = re.findall(r'action="([^"]*/undo/[^"]*)"', page)
    assert found, page
    return found[-1]


def test_a_discarded_or_replaced_draft_comes_back(olga: Client, everybody: Everybody, as_: As) -> None:
    olga.post(EDIT, typed(slo_ms="700", deed="draft"))
    replaced = text_of(olga.post(EDIT, typed(slo_ms="800", deed="draft"), follow=True))
    assert "It replaces the draft you had" in replaced
    assert 'name="slo_ms" value="700"' in text_of(olga.post(undo_in(replaced), follow=True))
    gone = text_of(olga.post(EDIT, typed(deed="discard"), follow=True))
    at = undo_in(gone)
    assert "Your draft is gone" in gone and "again since" in text_of(as_(everybody.root).post(at, follow=True))
    assert 'name="slo_ms" value="700"' in text_of(olga.post(at, follow=True))
    assert "nothing was put back" in text_of(olga.post(at, follow=True))
    assert "There is no draft" in text_of(as_(everybody.root).post(EDIT, typed(deed="discard"), follow=True))


def test_a_draft_is_kept_as_typed(olga: Client, everybody: Everybody, as_: As) -> None:
    answer = olga.post(EDIT, typed(slo_ms="soon", deed="draft", reason="later"))
    assert answer.status_code == 302 and in_force().number == 1
    assert "You have a draft" in text_of(olga.get("/tiers/elastic/"))
    text = text_of(olga.get(EDIT))
    assert 'name="slo_ms" value="soon"' in text and 'value="later"' in text and "This is your draft" in text
    assert "You have a draft" not in text_of(as_(everybody.ada).get("/tiers/elastic/"))


def test_a_planned_change_is_called_off_and_planned_again(olga: Client) -> None:
    year = now().year + 1
    data = typed(slo_ms="700", starts=f"{year}-01-31T08:00", ends=f"{year}-01-31T20:00", deed="schedule")
    answer = olga.post(EDIT, {**data, "token": token_for(olga, data)})
    assert answer.status_code == 302 and in_force().number == 1
    page = toast_of(olga)
    assert "v2 of elastic is planned" in page and "/tiers/elastic/plans/2/cancel/" in page
    cancelled = text_of(olga.post("/tiers/elastic/plans/2/cancel/", follow=True))
    assert "v2 of elastic is called off" in cancelled and "/tiers/elastic/plans/2/again/" in cancelled
    assert "calls off v2" in cancelled
    again = text_of(olga.post("/tiers/elastic/plans/2/again/", follow=True))
    assert "v4 of elastic is planned" in again and "Call off" in again
    assert in_force().number == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"deed": "schedule"}, "Say when the change begins"),
        ({"deed": "publish", "starts": "2099-01-01T00:00"}, "This has dates"),
        ({"deed": "schedule", "starts": "tomorrow"}, "write a date and time"),
        ({"deed": "schedule", "starts": "2001-01-01T00:00"}, "which is past"),
        ({"deed": "schedule", "starts": "2099-01-02T00:00", "ends": "2099-01-01T00:00"}, "before it begins"),
    ],
)
def test_dates_that_make_no_sense(olga: Client, changes: dict[str, str], sentence: str) -> None:
    data = typed(slo_ms="700", **changes)
    answer = olga.post(EDIT, {**data, "token": token_for(olga, data)})
    assert answer.status_code == 422 and sentence in text_of(answer)
    assert TierVersion.objects.filter(tier=elastic()).count() == 1


def test_shadow_runs_stops_goes_on_and_comes_into_force(olga: Client) -> None:
    assert olga.post(EDIT, typed(burst_concurrency="1.2", deed="shadow")).status_code == 302
    assert (in_force().number, elastic().shadow is not None) == (1, True)
    assert "runs in shadow" in toast_of(olga)
    stopped = text_of(olga.post("/tiers/elastic/shadow/stop/", follow=True))
    assert elastic().shadow is None and "/tiers/elastic/shadow/2/resume/" in stopped
    olga.post("/tiers/elastic/shadow/2/resume/")
    assert elastic().shadow is not None
    offered = olga.get("/tiers/elastic/shadow/publish/")
    assert "1 of 12 terms change" in text_of(offered)
    data = typed(burst_concurrency="1.2")
    bare = olga.post("/tiers/elastic/shadow/publish/", {"base": "1"})
    assert bare.status_code == 409 and token_in(bare)
    olga.post("/tiers/elastic/shadow/publish/", {"base": "1", "token": token_for(olga, data)})
    assert (in_force().number, elastic().shadow) == (3, None)


def test_side_by_side_and_back(olga: Client) -> None:
    data = typed(burst_tokens="3")
    olga.post(EDIT, {**data, "deed": "publish", "token": token_for(olga, data)})
    text = text_of(olga.get("/tiers/elastic/diff/?from=1&to=2"))
    assert "1 of 12 terms differ" in text and "<del>2×</del>" in text and "<ins>3×</ins>" in text
    assert "1 of 12 terms differ" in text_of(olga.get("/tiers/elastic/diff/")), "the one in force and the one before"
    assert olga.get("/tiers/elastic/diff/?from=1&to=77").status_code == 404
    assert olga.get("/tiers/elastic/revert/77/").status_code == 404
    page = text_of(olga.get("/tiers/elastic/revert/1/"))
    assert "Back to the terms of v1" in page and 'name="burst_tokens" value="2"' in page
    refused = olga.post("/tiers/elastic/revert/1/", {"base": "2"})
    assert refused.status_code == 409 and in_force().number == 2
    answer = olga.post("/tiers/elastic/revert/1/", {"base": "2", "token": token_in(refused), "reason": "too much"})
    assert answer.status_code == 302
    assert (in_force().number, in_force().reason, in_force().reverts_id is not None) == (3, "too much", True)
    assert "/tiers/elastic/undo/3/" in toast_of(olga)


def test_a_new_tier(olga: Client) -> None:
    usual = typed_of(TierTerms.of_class("spot"))
    assert 'value="spot" checked' in text_of(olga.get("/tiers/new/?class=spot"))
    data = {**usual, "service_class": "spot", "slug": "night", "name": "ليل 🌙", "reason": "cheap"}
    assert olga.post("/tiers/new/", data)["Location"] == "/tiers/night/"
    page = text_of(olga.get("/tiers/night/"))
    assert "ليل 🌙" in page and "/tiers/night/archive/?created=1" in page
    taken = olga.post("/tiers/new/", data)
    assert taken.status_code == 422 and "There is a tier" in text_of(taken) and "ليل 🌙" in text_of(taken)
    assert olga.post("/tiers/new/", {**data, "slug": "new"}).status_code == 422
    assert olga.post("/tiers/new/", {**data, "slug": "x", "service_class": "gold"}).status_code == 422
    like = text_of(olga.get("/tiers/new/?from=guaranteed"))
    assert 'value="guaranteed" checked' in like and 'name="lendable_share" value="50"' in like


def test_archive_and_restore(olga: Client) -> None:
    tier_make("spot", "lonely")
    olga.post("/tiers/lonely/archive/", {"confirm": "wrong"})
    assert Tier.objects.get(slug="lonely").archived_at is None
    olga.post("/tiers/lonely/archive/", {"confirm": "lonely"})
    assert Tier.objects.get(slug="lonely").archived_at is not None
    assert "/tiers/lonely/" not in re.sub(r"restore", "", text_of(olga.get("/tiers/")).partition("toasts")[0])
    assert "/tiers/lonely/" in text_of(olga.get("/tiers/?archived=1"))
    for answer in (
        olga.get("/tiers/lonely/edit/"),
        olga.post("/tiers/lonely/edit/"),
        olga.post("/tiers/lonely/preview/"),
    ):
        assert answer.status_code == 409 and "is archived" in text_of(answer)
    page = text_of(olga.get("/tiers/lonely/"))
    assert "Restore" in page and "Edit terms" not in page
    olga.post("/tiers/lonely/restore/")
    assert Tier.objects.get(slug="lonely").archived_at is None
    used = text_of(olga.post("/tiers/elastic/archive/", {"confirm": "elastic"}, follow=True))
    assert "lives under elastic" in used and elastic().archived_at is None


CHANGES = [
    "new/", "elastic/edit/", "elastic/preview/", "elastic/revert/1/", "elastic/undo/1/", "elastic/plans/1/cancel/",
    "elastic/plans/1/again/", "elastic/shadow/stop/", "elastic/shadow/publish/", "elastic/shadow/1/resume/",
    "elastic/archive/", "elastic/restore/", "elastic/draft/undo/1/",
]  # fmt: skip


@pytest.mark.parametrize("at", CHANGES)
def test_only_operators_change_terms(at: str, everybody: Everybody, as_: As) -> None:
    for who in (everybody.ada, everybody.alan, everybody.eda):
        assert as_(who).post(f"/tiers/{at}").status_code == 403
    assert as_(None).post(f"/tiers/{at}")["Location"].startswith("/sign-in/")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(everybody.olga)
    assert strict.post(f"/tiers/{at}").status_code == 403, "no token of the form, no deed"
    assert (in_force().number, TierDraft.objects.count()) == (1, 0)


def test_an_auditor_reads_and_is_offered_nothing(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.ada)
    for at in ("/tiers/", "/tiers/elastic/", "/tiers/elastic/diff/"):
        text = text_of(client.get(at))
        assert not re.search(r'href="/tiers/[^"]*(edit|revert|new)/', text) and 'action="/tiers/' not in text, at
    refused = client.get(EDIT)
    assert refused.status_code == 403 and b"Only operators may do this" in refused.content


def test_a_page_holds_long_and_foreign_names(olga: Client, everybody: Everybody) -> None:
    Tier.objects.filter(slug="elastic").update(name="ن" * 100 + "🚀" * 20 + "x" * 80)
    for at in ("/tiers/", "/tiers/elastic/", EDIT, "/tiers/elastic/diff/", "/tiers/elastic/revert/1/"):
        assert olga.get(at).status_code == 200
    assert NOW  # the world's own time is past; pages use the present
