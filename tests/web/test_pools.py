"""The pages of a pool: settings, profiles, promises, replicas by hand; what they refuse and what they keep."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from pools.models import CapacityProfile, Pool
from pools.services.pools import pool_change
from portal.accounts.models import User
from portal.audit.models import AuditRecord
from portal.lib.clock import now
from tests.cast import NOW, OLGA, pool_make
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


@pytest.fixture
def olga(everybody: Everybody, as_: As) -> Client:
    return as_(everybody.olga)


def seen(client: Client, at: str, form: dict[str, str]) -> dict[str, str]:
    """The form with the token of the preview that its panel shows."""
    text = client.post(f"/pools/chat-8b/{at}/preview/", form).content.decode()
    return {**form, "token": token_in(text)}


def token_in(text: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', text)
    return found.group(1) if found else ""


def settings_form(client: Client, **changes: str) -> dict[str, str]:
    """What a browser sends when the settings page is saved."""
    context = client.get("/pools/chat-8b/settings/").context
    values = {view.field.name: view.value for _, _, views in context["groups"] for view in views}
    return seen(client, "settings", {**values, "base": context["base"], "reason": "test", **changes})


@pytest.mark.django_db(transaction=True)
def test_settings_are_saved_and_taken_back(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    saved = client.post("/pools/chat-8b/settings/save/", settings_form(client, max_replicas="6", spot_share="25"))
    assert saved.status_code == 302
    pool = Pool.objects.get()
    assert (pool.max_replicas, pool.spot_share) == (6, 0.25)
    record = AuditRecord.objects.filter(verb="pool_change").latest("id")
    assert set(record.after) == {"max_replicas", "spot_share"}, "only what differs is written"
    assert f"undo/{record.pk}/" in client.get("/pools/chat-8b/settings/").content.decode()
    client.post(f"/pools/chat-8b/undo/{record.pk}/")
    assert Pool.objects.get().max_replicas == 4


def test_another_mode_of_scaling_says_what_it_means_now(olga: Client) -> None:
    text = olga.post("/pools/chat-8b/settings/preview/", settings_form(olga, scaling_mode="advisory")).content.decode()
    assert "only written down from then on; 1 replica stays" in text
    Pool.objects.update(scaling_mode="advisory")
    text = olga.post("/pools/chat-8b/settings/preview/", settings_form(olga, scaling_mode="automatic")).content.decode()
    assert "Decisions are carried out from then on" in text


def test_nothing_changed_writes_nothing(olga: Client) -> None:
    assert olga.post("/pools/chat-8b/settings/save/", settings_form(olga)).status_code == 302
    assert not AuditRecord.objects.filter(verb="pool_change").exists()


def test_wrong_fields_are_told_beside_them_and_kept(olga: Client) -> None:
    answer = olga.post("/pools/chat-8b/settings/save/", settings_form(olga, max_replicas="many", alpha_slo="-1"))
    text = answer.content.decode()
    assert answer.status_code == 422 and 'value="many"' in text
    assert 'href="#id_max_replicas"' in text and 'id="error_alpha_slo"' in text


def test_a_save_that_would_break_promises_is_refused_with_numbers(olga: Client, everybody: Everybody) -> None:
    Pool.objects.update(max_replicas=2)
    preview = olga.post("/pools/chat-8b/settings/preview/", settings_form(olga, max_replicas="1", min_replicas="1"))
    assert "Nobody would notice" in preview.content.decode() or "refused" not in preview.content.decode()
    everybody.world.alice.base_concurrency = 30
    everybody.world.alice.save(update_fields=["base_concurrency"])
    form = settings_form(olga, max_replicas="1", min_replicas="1")
    text = olga.post("/pools/chat-8b/settings/preview/", form).content.decode()
    assert "A save would be refused." in text and "19 sequences short" in text
    answer = olga.post("/pools/chat-8b/settings/save/", form)
    assert answer.status_code == 422 and "19 sequences short" in answer.content.decode()


def test_two_operators_meet_in_one_form(olga: Client) -> None:
    form = settings_form(olga, max_replicas="6", alpha_debt="2")
    pool = Pool.objects.get()
    pool_change(actor=OLGA, now=NOW, pool_id=pool.pk, changes={"max_replicas": 9, "alpha_burst": 3.0})
    answer = olga.post("/pools/chat-8b/settings/save/", form)
    text = answer.content.decode()
    assert answer.status_code == 409 and "olga@example.org changed this pool" in text
    assert "(yours stands)" in text and "(taken over)" in text
    assert Pool.objects.get().max_replicas == 9, "nothing was saved"
    values = {view.field.name: view.value for _, _, views in answer.context["groups"] for view in views}
    merged = {**values, "base": answer.context["base"], "token": token_in(text)}
    again = olga.post("/pools/chat-8b/settings/save/", merged)
    assert again.status_code == 302
    pool.refresh_from_db()
    assert (pool.max_replicas, pool.alpha_debt, pool.alpha_burst) == (6, 2.0, 3.0)


@pytest.mark.parametrize("base", ["", "{", "[]", '{"max_replicas": 3}', json.dumps({"x": "y"})])
def test_a_broken_base_is_no_conflict_of_its_own(base: str, olga: Client) -> None:
    form = {**settings_form(olga, name="Chat"), "base": base}
    assert olga.post("/pools/chat-8b/settings/save/", form).status_code in {302, 409}


def test_archive_wants_the_slug_and_an_empty_pool(olga: Client) -> None:
    assert olga.post("/pools/chat-8b/archive/", {"confirm": "chat-8b"}).status_code == 409
    assert "3 entitlements live in it" in olga.get("/pools/chat-8b/settings/").content.decode()
    pool_make("empty")
    olga.post("/pools/empty/archive/", {"confirm": "wrong"})
    assert Pool.objects.get(slug="empty").archived_at is None
    olga.post("/pools/empty/archive/", {"confirm": "empty"})
    assert Pool.objects.get(slug="empty").archived_at is not None
    text = olga.get("/pools/empty/settings/").content.decode()
    assert "Archived" in text and "/pools/empty/restore/" in text and "Save" not in text
    assert olga.post("/pools/empty/settings/save/", {"name": "x"}).status_code == 409
    assert "empty" in olga.get("/pools/?archived=1").content.decode()
    olga.post("/pools/empty/restore/")
    assert Pool.objects.get(slug="empty").archived_at is None


def test_auditors_read_and_are_offered_nothing(everybody: Everybody, as_: As) -> None:
    ada = as_(everybody.ada)
    for at in ("settings", "profiles", "promise", "hold"):
        text = ada.get(f"/pools/chat-8b/{at}/").content.decode()
        assert "btn-primary" not in text and "csrfmiddlewaretoken" not in text.split("<main")[1], at
    assert "New pool" not in ada.get("/pools/").content.decode()


def profile_form(client: Client, **changes: str) -> dict[str, str]:
    context = client.get("/pools/chat-8b/profiles/new/").context
    values = {view.field.name: view.value for _, _, views in context["groups"] for view in views}
    form = {**values, "base": str(context["current"].version), "applies": "new", "reason": "measured", **changes}
    return seen(client, "profiles", form)


@pytest.mark.django_db(transaction=True)
def test_a_new_profile_version_with_its_preview_and_undo(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    form = profile_form(client, measured_tokens_per_second="500", applies="running")
    text = client.post("/pools/chat-8b/profiles/preview/", form).content.decode()
    assert "the measured rate, taken as it is" in text and "At once, for the 1 that run" in text
    assert client.post("/pools/chat-8b/profiles/new/", form).status_code == 302
    page = client.get("/pools/chat-8b/profiles/?from=1&to=2").content.decode()
    assert "Measured rate – → 500" in page.replace("\u00a0", " ") and "v1 beside v2" in page
    assert "/profiles/2/undo/" in page
    client.post("/pools/chat-8b/profiles/2/undo/")
    newest = CapacityProfile.objects.latest("version")
    assert (newest.version, newest.measured_tokens_per_second) == (3, None)
    assert client.post("/pools/chat-8b/profiles/2/undo/").status_code == 302, "too late, and said so"
    assert CapacityProfile.objects.count() == 3


def test_a_profile_that_breaks_promises_asks_for_ones_word(olga: Client) -> None:
    Pool.objects.update(max_replicas=1)
    form = profile_form(olga, max_num_seqs="8")
    assert "asks for your word" in olga.post("/pools/chat-8b/profiles/preview/", form).content.decode()
    answer = olga.post("/pools/chat-8b/profiles/new/", form)
    text = answer.content.decode()
    assert answer.status_code == 422 and 'id="id_break_promises"' in text and "3 sequences short" in text
    assert olga.post("/pools/chat-8b/profiles/new/", {**form, "break_promises": "1"}).status_code == 302


def test_who_would_lose_its_promise_is_named_before(olga: Client) -> None:
    form = profile_form(olga, max_num_seqs="4", applies="running")
    text = olga.post("/pools/chat-8b/profiles/preview/", form).content.decode()
    assert "1 reserved promise could not be kept" in text or "its promise could not be kept" in text


def test_a_profile_edited_by_two_is_not_overwritten(olga: Client) -> None:
    form = profile_form(olga, mean_input_tokens="100")
    olga.post("/pools/chat-8b/profiles/new/", seen(olga, "profiles", {**form, "mean_input_tokens": "90"}))
    answer = olga.post("/pools/chat-8b/profiles/new/", form)
    assert answer.status_code == 409 and "was published while you edited" in answer.content.decode()
    assert 'value="100"' in answer.content.decode()


def test_bringing_an_old_version_back_begins_with_it(olga: Client) -> None:
    olga.post("/pools/chat-8b/profiles/new/", profile_form(olga, mean_input_tokens="100"))
    text = olga.get("/pools/chat-8b/profiles/new/?from=1").content.decode()
    assert 'name="mean_input_tokens" value="64"' in text and "As in v1." in text
    assert olga.get("/pools/chat-8b/profiles/new/?from=77").status_code == 404


def test_the_calculator_answers_in_words(olga: Client) -> None:
    def ask(**given: str) -> str:
        return olga.get(f"/pools/chat-8b/promise/?{urlencode(given)}", HTTP_HX_REQUEST="true").content.decode()

    slot = {"class": "guaranteed", "tokens": "15", "kv": "64 MiB", "slots": "1"}
    assert "Fits now." in ask(count="3", **slot)
    assert "Fits after scaling to 2 replicas." in ask(count="10", **slot)
    never = ask(count="500", **slot)
    assert "Does not fit: short of" in never and "slots" in never
    assert "Fits now." in ask(**{"class": "elastic", "tokens": "1"})
    assert "write bytes such as" in ask(kv="many", slots="1")
    assert "at least one amount" in ask(count="1", tokens="0")
    assert "choose dedicated" in ask(**{"class": "spot", "slots": "1"})
    assert "filled in" in ask()


def test_the_calculator_names_what_binds_for_every_class(olga: Client) -> None:
    answer = olga.get("/pools/chat-8b/promise/")
    lines = {line.service_class: line for line in answer.context["lines"]}
    assert list(lines) == ["dedicated", "guaranteed", "elastic", "spot", "preemptible"]
    for name in ("dedicated", "guaranteed", "elastic"):
        now, at_most = lines[name].now, lines[name].at_most
        assert now.binds and at_most.binds and at_most.tokens > now.tokens
        assert f"<td>{now.binds}</td>" in answer.content.decode()
    assert lines["spot"].now is None
    assert 'value="6"' in olga.get("/pools/chat-8b/promise/?like=alice-chat-8b").content.decode()
    pool = Pool.objects.get()
    Pool.objects.filter(pk=pool.pk).update(current_profile=None)
    assert "no capacity profile yet" in olga.get("/pools/chat-8b/promise/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_pool_is_held_shown_as_held_and_lifted(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    form = {"replicas": "3", "lasts": "4h", "reason": "load test"}
    preview = client.post("/pools/chat-8b/hold/preview/", form).content.decode()
    assert "Slots, ready" in preview and "accelerators" in preview
    assert client.post("/pools/chat-8b/hold/save/", {**form, "token": token_in(preview)}).status_code == 302
    pool = Pool.objects.get()
    assert pool.manual_replicas == 3 and pool.manual_until is not None
    assert timedelta(hours=3, minutes=59) < pool.manual_until - now() <= timedelta(hours=4)
    for at in ("/pools/chat-8b/", "/pools/chat-8b/hold/", "/pools/chat-8b/settings/", "/scaling/"):
        text = client.get(at).content.decode()
        assert "load test" in text and "Lift it now" in text, at
    record = AuditRecord.objects.filter(verb="pool_set_replicas").latest("id")
    client.post(f"/pools/chat-8b/undo/{record.pk}/")
    assert Pool.objects.get().manual_replicas is None
    client.post("/pools/chat-8b/hold/save/", seen(client, "hold", {**form, "lasts": "open"}))
    client.post("/pools/chat-8b/hold/lift/")
    assert Pool.objects.get().manual_replicas is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"replicas": "99"}, "write a whole number of 0 to 4 replicas"),
        ({"replicas": ""}, "this is needed"),
        ({"lasts": "forever"}, "choose one of"),
        ({"reason": "  "}, "say why"),
    ],
)
def test_an_override_is_checked(changes: dict[str, str], said: str, olga: Client) -> None:
    answer = olga.post("/pools/chat-8b/hold/save/", {"replicas": "2", "lasts": "1h", "reason": "x", **changes})
    assert answer.status_code == 422 and said in answer.content.decode()
    assert Pool.objects.get().manual_replicas is None


def test_the_ceiling_shows_and_fails_closed(olga: Client, settings: Any) -> None:
    settings.ACCELERATOR_CEILING = 2
    for at in ("/pools/new/", "/pools/chat-8b/promise/", "/scaling/", "/pools/"):
        assert "1 of 2" in olga.get(at).content.decode().replace("\u00a0", " "), at
    preview = olga.post("/pools/chat-8b/hold/preview/", {"replicas": "3", "lasts": "1h"}).content.decode()
    assert "This would be refused." in preview
    answer = olga.post("/pools/chat-8b/hold/save/", {"replicas": "3", "lasts": "1h", "reason": "x"})
    assert answer.status_code == 422 and "ACCELERATOR_CEILING" in answer.content.decode()
