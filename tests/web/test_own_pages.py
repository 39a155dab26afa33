"""A tenant's home and usage: the wait, the headroom, usage by key, model and time; many pools stay usable."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.test import Client

from billing.models import UsageHour, UsageMinute
from pools.counters.types import Ask
from pools.services.keys import key_create
from pools.services.store import counters
from portal.accounts.models import Tenant, User
from portal.lib.clock import now
from tests.cast import KV_TOKEN, OLGA, later, leftover, pool_make, promise, slots
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


def used(row, at: datetime, key_id: int, tokens: int, **more: int) -> None:  # type: ignore[no-untyped-def]
    """One hour and one minute of usage of an entitlement."""
    for model in (UsageHour, UsageMinute):
        model.objects.create(
            at=at.replace(minute=0, second=0, microsecond=0) if model is UsageHour else at,
            entitlement_id=row.pk,
            key_id=key_id,
            pool_id=row.pool_id,
            tenant_id=row.tenant_id,
            **{
                "requests": 2,
                "failed": 1,
                "input_tokens": tokens // 2,
                "output_tokens": tokens // 2,
                "cached_tokens": 0,
                "charged_tokens": tokens,
                "overrun_tokens": 0,
                "ttft_ms_sum": 300,
                "ttft_count": 2,
                "duration_ms_sum": 900,
                **more,
            },
        )


@pytest.fixture
def busy(everybody: Everybody) -> Everybody:
    """Eve used two keys in two pools; Alice used something, too."""
    world = everybody.world
    second = pool_make("second")
    other = leftover(second, world.eve.tenant, world.bob.tier, slots(2))
    one = key_create(actor=OLGA, now=now(), tenant=world.eve.tenant, name="=web").key
    two = key_create(actor=OLGA, now=now(), tenant=world.eve.tenant, name="batch").key
    moment = now() - timedelta(minutes=3)
    used(world.eve, moment, one.pk, 1000)
    used(world.eve, moment, two.pk, 400)
    used(other, moment, two.pk, 5000)
    used(world.alice, moment, 0, 77_777)
    return everybody


def shown(client: Client, query: str) -> list[tuple[str, str, int]]:
    rows = client.get(f"/t/eve/usage/{query}").context["rows"]
    return [(row.key.split(" ")[0], row.model, row.charged_tokens) for row in rows]


@pytest.mark.parametrize("span", ["15m", "1h", "24h", "7d", "30d"])
def test_usage_in_every_range_and_grouping(span: str, busy: Everybody, as_: As) -> None:
    client = as_(busy.eda)
    assert shown(client, f"?range={span}") == [
        ("batch", "second", 5000),
        ("=web", "chat-8b", 1000),
        ("batch", "chat-8b", 400),
    ]
    assert shown(client, f"?range={span}&by=key") == [("batch", "", 5400), ("=web", "", 1000)]
    assert shown(client, f"?range={span}&by=model") == [("", "second", 5000), ("", "chat-8b", 1400)]
    times = client.get(f"/t/eve/usage/?range={span}&by=time").context["rows"]
    assert [(row.charged_tokens, row.requests) for row in times] == [(6400, 6)]
    text = client.get(f"/t/eve/usage/?range={span}").content.decode()
    assert "77" not in text.split("<main")[1].split("</main>")[0].replace("77_", ""), "nobody else's tokens"


def test_the_chart_stacks_what_the_page_groups(busy: Everybody, as_: As) -> None:
    client = as_(busy.eda)

    def traces(by: str) -> dict[str, float]:
        found = client.get(f"/t/eve/usage/chart/?range=24h&by={by}").json()
        assert found["empty"] is False
        return {trace["name"]: sum(trace["y"]) for trace in found["usage"]["data"]}

    assert traces("") == {"Input": 3200.0, "Output": 3200.0} == traces("time")
    assert traces("model") == {"second": 5000.0, "chat-8b": 1400.0}
    assert set(traces("key").values()) == {5400.0, 1000.0}
    assert as_(busy.anna).get("/t/alice/usage/chart/?range=15m").json()["empty"] is False


def test_many_keys_are_layers_and_others(busy: Everybody, as_: As) -> None:
    for number in range(6):
        used(busy.world.eve, now() - timedelta(minutes=10 + number), 10_000 + number, 10)
    found = as_(busy.eda).get("/t/eve/usage/chart/?range=24h&by=key").json()["usage"]["data"]
    assert len(found) == 5 and found[-1]["name"] == "others"


def test_usage_leaves_as_csv_in_the_same_grouping(busy: Everybody, as_: As) -> None:
    answer = as_(busy.eda).get("/t/eve/usage.csv?range=7d&by=key")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [int(row["charged_tokens"]) for row in rows] == [5400, 1000]
    assert rows[1]["key"].startswith("'=web"), "no formula"
    assert "usage-eve-7d-by-key" in answer["Content-Disposition"]
    by_time = as_(busy.eda).get("/t/eve/usage.csv?range=24h&by=time").content.decode()
    assert datetime.fromisoformat(next(csv.DictReader(io.StringIO(by_time)))["at"]).tzinfo is not None


def test_odd_addresses_are_the_usual_page(busy: Everybody, as_: As) -> None:
    assert as_(busy.eda).get("/t/eve/usage/?range=9y&by=nothing").status_code == 200


def test_home_says_how_long_one_would_wait(everybody: Everybody, as_: As) -> None:
    client, eve = as_(everybody.eda), everybody.world.eve
    text = client.get("/t/eve/").content.decode()
    assert "none: it would be let in at once" in text and "free below your limit" in text
    for number in range(10):
        counters().reserve(Ask(eve.pool_id, eve.pk, f"r{number}", 1, 64 * KV_TOKEN))
    assert client.get("/t/eve/wait/").content.decode().startswith("about ")
    assert "(concurrency)" in client.get("/t/eve/wait/").content.decode()


def test_home_of_a_tenant_with_two_hundred_pools(everybody: Everybody, as_: As) -> None:
    tenant, tier = everybody.world.eve.tenant, everybody.world.bob.tier
    for number in range(12):
        leftover(pool_make(f"pool-{number:02}"), tenant, tier, slots(1))
    text = as_(everybody.eda).get("/t/eve/").content.decode()
    assert text.count("<option") == 13 and "pool-list" in text
    assert as_(everybody.eda).get("/t/eve/?pool=pool-11").context["chosen"] == "pool-11"
    assert as_(everybody.eda).get("/t/eve/?pool=nothing").status_code == 404
    assert as_(everybody.eda).get("/t/eve/?pool=%00").status_code == 200


def test_home_shows_the_bound_pool_before_a_pending_one(everybody: Everybody, as_: As) -> None:
    promise(pool_make("aaa"), everybody.world.eve.tenant, everybody.world.eve.tier, slots(1), valid_from=later(9))
    assert as_(everybody.eda).get("/t/eve/").context["chosen"] == "chat-8b"


def test_a_banner_stands_on_every_page_of_a_suspended_tenant(everybody: Everybody, as_: As) -> None:
    Tenant.objects.filter(slug="eve").update(state="suspended", state_reason="unpaid since May")
    client = as_(everybody.eda)
    for path in ("", "usage/", "debt/", "keys/", "members/", "limits/"):
        assert "unpaid since May" in client.get(f"/t/eve/{path}").content.decode(), path
