"""The wizard that makes a pool: its steps keep what was typed, estimate what was left empty, and say what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from pools.models import Pool
from portal.accounts.models import User
from portal.audit.models import AuditRecord
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
DRAFT = {
    "shape": "llama-3.1-8b",
    "slug": "support",
    "name": "Support",
    "model_name": "support-8b",
    "device": "h100",
    "accelerators_per_replica": "1",
    "weight_bytes": "2",
    "planned_context": "4096",
    "mean_input_tokens": "512",
    "mean_output_tokens": "256",
    "min_replicas": "1",
    "max_replicas": "3",
    "scaling_mode": "advisory",
    "provider": "process",
    "provider_cold_start_s": "2",
}


@pytest.fixture
def olga(everybody: Everybody, as_: As) -> Client:
    return as_(everybody.olga)


def step(client: Client, name: str, **changes: str) -> Any:
    return client.get(f"/pools/new/?{urlencode({'step': name, **DRAFT, **changes})}")


def test_the_wizard_begins_with_a_known_model(olga: Client) -> None:
    answer = olga.get("/pools/new/")
    text = answer.content.decode()
    assert answer.status_code == 200 and "Llama 3.1 8B" in text and "One replica carries" in text


@pytest.mark.parametrize("name", ["model", "replica", "replicas", "provider", "review"])
def test_every_step_keeps_what_the_others_hold(name: str, olga: Client) -> None:
    answer = step(olga, name)
    assert answer.status_code == 200
    text = answer.content.decode()
    for key, value in DRAFT.items():
        assert f'name="{key}"' in text, f"{key} is lost in step {name}"
        assert f'value="{value}"' in text or f">{value}<" in text


def test_a_step_is_reached_only_when_those_before_are_right(olga: Client) -> None:
    answer = step(olga, "review", slug="", planned_context="9999999")
    text = answer.content.decode()
    assert answer.status_code == 422 and 'aria-current="step"><span>1 Model' in text
    assert '<a href="#id_slug">Slug: this is needed.</a>' in text and 'id="error_slug"' in text
    answer = step(olga, "provider", planned_context="9999999")
    assert answer.status_code == 422 and "is longer than the context" in answer.content.decode()
    assert step(olga, "model", slug="").status_code == 200, "going back is never refused"


def test_names_that_are_taken_are_told_at_once(olga: Client) -> None:
    answer = step(olga, "replica", slug="chat-8b")
    assert answer.status_code == 422 and "there is a pool with “chat-8b” already" in answer.content.decode()


def test_fields_left_empty_are_estimated_from_the_data_sheet(olga: Client) -> None:
    text = olga.get(f"/pools/new/preview/?{urlencode(DRAFT)}").content.decode()
    assert "GiB are left for the KV cache" in text and 'data-name="num_gpu_blocks"' in text
    assert "blocks × tokens in a block × bytes of a token × 0.90" in text
    typed = olga.get(f"/pools/new/preview/?{urlencode({**DRAFT, 'num_gpu_blocks': '8192'})}").content.decode()
    assert "8,192 × 16 × 131,072 bytes" in typed


def test_weights_that_do_not_fit_and_unknown_models_say_what_to_do(olga: Client) -> None:
    big = olga.get(f"/pools/new/preview/?{urlencode({**DRAFT, 'shape': 'llama-3.1-70b'})}").content.decode()
    assert "take at least 2 per replica" in big
    own = {**DRAFT, "shape": "own", "layers": "32", "kv_heads": "8", "head_dim": "128", "context_length": "8192"}
    text = olga.get(f"/pools/new/preview/?{urlencode(own)}").content.decode()
    assert "type the figures" in text and "KV blocks: this is needed." in text


@pytest.mark.parametrize("name", ["shape", "provider", "scaling_mode", "device", "max_replicas", "slug"])
@pytest.mark.parametrize("value", ["", "\x00", "💥" * 300, "-1", "1e400", "نص", "<script>"])
def test_odd_texts_break_no_step(name: str, value: str, olga: Client) -> None:
    assert step(olga, "review", **{name: value}).status_code in {200, 422}
    assert olga.get(f"/pools/new/preview/?{urlencode({**DRAFT, name: value})}").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_the_wizard_makes_a_pool_that_can_be_taken_back(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    made = client.post("/pools/new/", {**DRAFT, "reason": "for support"})
    assert made.status_code == 302 and made["Location"] == "/pools/support/"
    pool = Pool.objects.get(slug="support")
    assert (pool.max_replicas, pool.scaling_mode, pool.provider_config) == (3, "advisory", {"cold_start_s": 2})
    assert pool.current_profile is not None and pool.current_profile.accelerator == "1 × NVIDIA H100 SXM 80 GB"
    record = AuditRecord.objects.get(verb="pool_create", object_id=str(pool.pk))
    page = client.get("/pools/support/").content.decode()
    assert f"/pools/support/undo/{record.pk}/" in page, "the toast offers to take it back"
    assert client.post(f"/pools/support/undo/{record.pk}/").status_code == 302
    pool.refresh_from_db()
    assert pool.archived_at is not None


def test_a_refused_creation_returns_to_the_step_that_is_wrong(olga: Client, settings: Any) -> None:
    settings.ACCELERATOR_CEILING = 1
    answer = olga.post("/pools/new/", DRAFT)
    text = answer.content.decode()
    assert answer.status_code == 409 and "1 (ACCELERATOR_CEILING)" in text and 'id="error_min_replicas"' in text
    assert olga.post("/pools/new/", {**DRAFT, "provider": "static", "provider_urls": ""}).status_code == 422
    assert not Pool.objects.filter(slug="support").exists()
