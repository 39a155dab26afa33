"""The scaling page: filters in the address, cursor pages, inputs of a decision, the advice in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client

from pools.models import AdviceHour, Pool, ScalingDecision
from portal.accounts.models import User
from portal.lib.clock import now
from tests.cast import pool_make
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
SEEN = {
    "wanted": 3, "target": 3, "commit": [90, 1000, 6], "need": [420.5, 2000, 20], "replica": [240, 1024**3, 16],
    "least": 1, "most": 4, "draining": 0, "ceiling_left": 2, "mode": "automatic",
}  # fmt: skip


def decided(pool: Pool, hours: float, chosen: int, code: str = "hold", applied: bool = True) -> ScalingDecision:
    return ScalingDecision.objects.create(
        pool=pool, at=now() - timedelta(hours=hours), ready=2, pending=0, before=2, floor=1, need=1.75, chosen=chosen,
        code=code, reason=f"{code} {chosen}", dimension="concurrency", inputs=SEEN, profile=pool.current_profile,
        applied=applied,
    )  # fmt: skip


@pytest.fixture
def client(everybody: Everybody, as_: As) -> Client:
    pool = everybody.world.pool
    decided(pool, 1, 2)
    decided(pool, 2, 3, "up")
    decided(pool, 3, 1, "down", applied=False)
    decided(pool_make("other"), 4, 4, "manual", applied=False)
    decided(pool, 24 * 20, 2)
    return as_(everybody.ada)


@pytest.mark.parametrize(
    ("query", "reasons"),
    [
        ("", ["hold 2", "up 3", "down 1", "manual 4"]),
        ("?pool=other", ["manual 4"]),
        ("?code=up", ["up 3"]),
        ("?done=advice", ["down 1", "manual 4"]),
        ("?moves=1", ["up 3", "down 1", "manual 4"]),
        ("?pool=chat-8b&moves=1&done=applied", ["up 3"]),
        ("?range=30d&code=hold", ["hold 2", "hold 2"]),
        ("?code=nonsense&range=9y&done=x", ["hold 2", "up 3", "down 1", "manual 4"]),
    ],
)
def test_filters_live_in_the_address(query: str, reasons: list[str], client: Client) -> None:
    answer = client.get(f"/scaling/{query}")
    assert sorted(line.row.reason for line in answer.context["lines"]) == sorted(reasons)


def test_a_decision_shows_what_it_saw(client: Client) -> None:
    text = client.get("/scaling/?code=up").content.decode()
    for said in (
        "Wanted before the windows",
        "Left under the ceiling",
        "1.75",
        "(slots)",
        "1.00\u00a0GiB",
        "Counted with",
    ):
        assert said in text, said


def test_a_broken_cursor_is_told(client: Client) -> None:
    assert client.get("/scaling/?after=-1").status_code == 400


def test_nothing_found_offers_to_clear_the_filters(client: Client) -> None:
    assert "Clear the filters" in client.get("/scaling/?pool=none").content.decode()


def test_pages_by_cursor_hold_each_decision_once(everybody: Everybody, as_: As) -> None:
    for number in range(120):
        decided(everybody.world.pool, number / 60, 2)
    client, after, seen = as_(everybody.ada), "", []
    while True:
        answer = client.get(f"/scaling/?pool=chat-8b{after}")
        seen += [line.row.pk for line in answer.context["lines"]]
        if not answer.context["next"]:
            break
        after = f"&after={answer.context['next']}"
    assert len(seen) == len(set(seen)) == 120


def test_the_advice_is_told_and_compared_with_what_ran(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.ada)
    assert "No advice of the last 7 days could be judged yet" in client.get("/scaling/").content.decode()
    at = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    AdviceHour.objects.create(
        pool=everybody.world.pool, at=at, right=54, few=6, many=0, ran_right=30, ran_few=30, ran_many=0
    )
    text = client.get("/scaling/").content.decode().replace("\u00a0", " ")
    assert "right in 90 % of the minutes: too few in 10 %, too many in 0 %" in text
    assert "What really ran was right in 50 %." in text


def test_odd_inputs_of_old_rows_break_nothing(everybody: Everybody, as_: As) -> None:
    for inputs in ({}, {"need": 3}, {"need": [1, 2]}, [], {"wanted": "x", "commit": None}):
        row = decided(everybody.world.pool, 1, 2)
        ScalingDecision.objects.filter(pk=row.pk)
        ScalingDecision.objects.create(
            pool=everybody.world.pool, at=now(), ready=1, pending=0, before=1, floor=1, need=0, chosen=1, code="odd",
            reason="old", inputs=inputs,
        )  # fmt: skip
    assert as_(everybody.ada).get("/scaling/").status_code == 200
