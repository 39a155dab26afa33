"""Settings, holds and profiles of a pool are saved as they were previewed, or shown again with the fresh preview."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from pools.models import Pool, Tier
from portal.accounts.models import User
from portal.audit.models import AuditRecord
from tests.cast import pool_make, promise, replica_ready, slots, tenant_make
from tests.web.conftest import Everybody
from tests.web.test_pools import profile_form, seen, settings_form, token_in

As = Callable[[User | None], Client]


@pytest.fixture
def olga(everybody: Everybody, as_: As) -> Client:
    return as_(everybody.olga)


STALE = [
    lambda pool: replica_ready(pool, 2),
    lambda pool: promise(pool, tenant_make("newcomer"), Tier.objects.get(slug="elastic"), slots(1)),
    lambda pool: Pool.objects.filter(pk=pool.pk).update(wanted_replicas=3),
    lambda pool: pool_make("greedy"),  # takes of the ceiling
]


@pytest.mark.parametrize("moves", STALE)
@pytest.mark.parametrize("at", ["settings/save", "hold/save", "profiles/new"])
def test_a_save_whose_preview_has_moved_is_refused_with_the_fresh_one(
    at: str, moves: Callable[[Pool], object], olga: Client, settings: Any
) -> None:
    settings.ACCELERATOR_CEILING = 100
    forms = {
        "settings/save": lambda: settings_form(olga, alpha_debt="2.5"),
        "hold/save": lambda: seen(olga, "hold", {"replicas": "2", "lasts": "4h", "reason": "load test"}),
        "profiles/new": lambda: profile_form(olga, mean_input_tokens="101"),
    }
    form = forms[at]()
    moves(Pool.objects.get(slug="chat-8b"))
    answer = olga.post(f"/pools/chat-8b/{at}/", form)
    text = answer.content.decode()
    assert answer.status_code == 412 and "moved after the preview was made" in text
    assert form["reason"] in text and ", ready" in text.split('id="preview"')[1]
    kept = {"settings/save": 'value="2.5"', "hold/save": 'value="2"', "profiles/new": 'value="101"'}[at]
    assert kept in text and token_in(text) not in ("", form["token"])
    assert not AuditRecord.objects.filter(verb__in=["pool_change", "pool_set_replicas"]).exists()
    assert olga.post(f"/pools/chat-8b/{at}/", {**form, "token": token_in(text)}).status_code == 302


@pytest.mark.parametrize("token", ["", "nonsense", "another"])
@pytest.mark.parametrize("at", ["settings/save", "hold/save", "profiles/new"])
def test_a_save_that_was_not_previewed_is_shown_first(at: str, token: str, olga: Client) -> None:
    other = seen(olga, "hold", {"replicas": "4", "lasts": "1h"})["token"]
    forms = {
        "settings/save": settings_form(olga, alpha_debt="2.5"),
        "hold/save": {"replicas": "2", "lasts": "4h", "reason": "load test"},
        "profiles/new": profile_form(olga, mean_input_tokens="101"),
    }
    answer = olga.post(f"/pools/chat-8b/{at}/", {**forms[at], "token": other if token == "another" else token})
    assert answer.status_code == 412 and "Nothing was saved" in answer.content.decode()
    again = {**forms[at], "token": token_in(answer.content.decode())}
    assert olga.post(f"/pools/chat-8b/{at}/", again).status_code == 302
