"""The limits page: would it fit now, answered by the admission rules on the live state; every limit explained."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from pools.counters.types import Ask
from pools.models import Entitlement, Pool
from pools.selectors.own import own_entitlement, own_pools
from pools.services.store import counters, hot
from pools.web.limits import wait_words
from portal.accounts.models import User
from tests.cast import KV_TOKEN, NOW, later, pool_make, promise, slots, tenant_make
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


def test_yes_with_what_it_would_reserve(everybody: Everybody, as_: As) -> None:
    answer = as_(everybody.eda).get("/t/eve/limits/?prompt=32&max=32&n=1")
    text = answer.content.decode()
    assert answer.status_code == 200 and answer.context["answer"].fits
    assert "Yes, it would be let in now." in text and "64 tokens" in text.replace("\u00a0", " ")
    assert "Bob" not in text and "Alice" not in text


def test_no_with_the_limit_that_binds_and_the_wait(everybody: Everybody, as_: As) -> None:
    eve = everybody.world.eve
    for number in range(10):
        counters().reserve(Ask(eve.pool_id, eve.pk, f"r{number}", 1, 64 * KV_TOKEN))
    text = as_(everybody.eda).get("/t/eve/limits/?prompt=32&max=32").content.decode()
    assert "No, not now; expect about" in text and "concurrency" in text and "your ceiling" in text
    assert "10 of" in text.replace("</span>", "")


def test_the_defaults_answer_without_a_question(everybody: Everybody, as_: As) -> None:
    answer = as_(everybody.eda).get("/t/eve/limits/")
    assert answer.context["answer"] is not None and answer.context["answer"].max_tokens == 256
    text = answer.content.decode()
    for word in ("Promised", "Limit now", "Ceiling", "Token bucket", "Largest max_tokens", "Context of the model"):
        assert word in text
    bucket = answer.context["bucket"]
    assert bucket.tokens == bucket.size and bucket.full_in_s == 0


@pytest.mark.parametrize(
    "query", ["?prompt=x", "?prompt=-1", "?prompt=10&max=0", "?prompt=10&n=0", "?prompt=" + "9" * 30]
)
def test_odd_sizes_are_said_beside_their_field(query: str, everybody: Everybody, as_: As) -> None:
    answer = as_(everybody.eda).get(f"/t/eve/limits/{query}")
    assert answer.status_code == 422 and "field-error" in answer.content.decode()
    assert answer.context["rows"], "the table stays"


def test_too_long_for_the_model_is_told_apart(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.eda)
    assert "context_length_exceeded" in client.get("/t/eve/limits/?prompt=9000&max=10").content.decode()
    assert "waiting does not help" in client.get("/t/eve/limits/?prompt=10&max=5000").content.decode()


def test_another_pool_and_no_pool(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    assert client.get("/t/alice/limits/?pool=none").status_code == 404
    assert client.get("/t/alice/limits/?pool=%00").status_code == 200
    tenant_make("empty")
    assert "holds no entitlement yet" in client.get("/t/empty/limits/").content.decode()


def test_a_store_that_is_away_is_said(everybody: Everybody, as_: As) -> None:
    hot().delete(f"{{tp:{everybody.world.pool.pk}}}")
    answer = as_(everybody.eda).get("/t/eve/limits/")
    assert answer.status_code == 200 and "cannot be asked at the moment" in answer.content.decode()


def test_many_pools_are_searched_not_listed(everybody: Everybody, as_: As) -> None:
    tenant = everybody.world.eve.tenant
    for number in range(8):
        promise(pool_make(f"pool-{number}"), tenant, everybody.world.eve.tier, slots(1))
    answer = as_(everybody.eda).get("/t/eve/limits/?prompt=10")
    text = answer.content.decode()
    assert "pool-list" in text and text.count("<option") == 9 and 'name="prompt"' in text
    assert answer.context["chosen"] == "chat-8b", "the pool where it is bound comes first"
    assert as_(everybody.eda).get("/t/eve/limits/?pool=pool-3").context["chosen"] == "pool-3"
    assert len(own_pools(tenant)) == 9


def test_of_several_windows_the_open_one_is_shown(everybody: Everybody) -> None:
    eve = everybody.world.eve
    Entitlement.objects.filter(pk=eve.pk).update(valid_until=later(3600))
    pool = Pool.objects.get(pk=eve.pool_id)
    promise(pool, eve.tenant, eve.tier, slots(2), slug="eve-later", valid_from=later(3600))
    assert own_entitlement(eve.tenant, pool.slug, later(10)).slug == eve.slug  # type: ignore[union-attr]
    assert own_entitlement(eve.tenant, pool.slug, later(3700)).slug == "eve-later"  # type: ignore[union-attr]
    assert own_pools(eve.tenant) == [("chat-8b", "chat-8b")]
    assert own_entitlement(eve.tenant, "", NOW) is not None


@pytest.mark.parametrize(
    ("milliseconds", "words"), [(0, "1 s"), (1500, "2 s"), (61_000, "1 min"), (3_600_000, "1 h or more")]
)
def test_waits_in_words(milliseconds: int, words: str) -> None:
    assert wait_words(milliseconds) == words
