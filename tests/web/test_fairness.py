"""Fairness: the least fair pool first, one pool with its matrix and shares; bounded, whoever looks and however many."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client

from pools.counters.types import Ask
from pools.mechanism.fairness import Fairness
from pools.mechanism.lending import BEYOND, OTHERS, UNPROMISED, Loan
from pools.models import EntitlementSample, FairnessSample, FairnessSpan, Pool
from pools.selectors.explain import records_read
from pools.selectors.live import live_key
from pools.services.store import counters
from portal.accounts.models import User
from portal.dashboards.fair_reads import fairness_history, loans_total
from portal.dashboards.fair_series import Measured, fair_rows, fairness_sentence, matrix_of, measured, ordered
from portal.dashboards.live_state import LiveState, parse
from portal.dashboards.series import RANGES
from portal.lib.clock import now
from portal.lib.hot import hot
from tests import cast
from tests.cast import KV_TOKEN
from tests.portal_cast import live_message, publish, tick_kept
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


def measure(pool: Pool, ago_s: float = 5, **changes: Any) -> None:
    """A measure of the tick, some seconds ago."""
    usual: dict[str, Any] = {
        "elapsed_s": 5,
        "active": 2,
        "satisfied": 0.8,
        "jain": 0.9,
        "dispersion": 0.2,
        "lent": [30, 1e9, 2],
        "free": [15, 1e9, 1],
        "beyond": [0, 0, 0],
        "loans": [],
    }
    FairnessSample.objects.create(at=now() - timedelta(seconds=ago_s), pool_id=pool.pk, **{**usual, **changes})


def test_the_least_fair_pool_comes_first(everybody: Everybody, as_: As) -> None:
    good, idle = cast.pool_make("good"), cast.pool_make("idle")
    measure(everybody.world.pool, satisfied=0.4)
    measure(good, satisfied=1.0)
    measure(idle, active=0, satisfied=None, jain=None, dispersion=None)
    cast.pool_make("silent")
    answer = as_(everybody.ada).get("/fairness/")
    assert [line.pool.slug for line in answer.context["lines"]] == ["chat-8b", "good", "idle", "silent"]
    text = answer.content.decode()
    assert "nobody asks" in text and "not measured in the last minute" in text
    assert answer.context["sentence"].startswith("1 of 4 pools keep less than 95")
    assert [line.pool.slug for line in as_(everybody.ada).get("/fairness/?q=goo").context["lines"]] == ["good"]
    assert "No pool matches." in as_(everybody.ada).get("/fairness/?q=nope").content.decode()


def test_one_pool_shows_who_lent_to_whom(everybody: Everybody, as_: As) -> None:
    world = everybody.world
    pairs = [[world.alice.pk, world.bob.pk, 30, 10**9, 2], [UNPROMISED, world.bob.pk, 15, 10**9, 1]]
    for ago in (5, 10):
        measure(world.pool, ago, loans=pairs)
    answer = as_(everybody.olga).get("/fairness/?pool=chat-8b&range=15m")
    matrix = answer.context["matrix"]
    assert [one["name"] for one in matrix["borrowers"]] == ["Bob"]
    assert [(name["name"], [cell.text for cell in cells], total) for name, cells, total in matrix["rows"]] == [
        ("Alice", ["2\u00a0slots"], "2\u00a0slots"),
        ("Unpromised capacity", ["1\u00a0slot"], "1\u00a0slot"),
    ]
    assert matrix["total"] == "3\u00a0slots"
    text = answer.content.decode()
    assert "owed 20" in text and "Who used whose idle reserve" in text
    tokens = as_(everybody.olga).get("/fairness/?pool=chat-8b&range=15m&dimension=tokens").context["matrix"]
    assert tokens["total"] == "45\u00a0tok/s"


def test_rows_are_sorted_and_paged_on_the_server(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)

    def names(query: str) -> list[str]:
        rows = client.get(f"/fairness/?pool=chat-8b&{query}").context["rows"]
        return [held.tenant.name for _, held in rows]

    assert names("sort=name") == ["Alice", "Bob", "Eve"]
    assert names("sort=debt")[0] == "Eve"
    assert names("sort=share")[0] == "Bob"
    assert names("sort=nonsense&page=99&dimension=x&range=9y")[0] == "Eve"


def test_without_data_it_says_so(everybody: Everybody, as_: As) -> None:
    publish(everybody.world.pool, at_ms=1)
    text = as_(everybody.olga).get("/fairness/?pool=chat-8b").content.decode()
    assert "No live data" in text and "Nothing was measured in this time" in text
    assert as_(everybody.olga).get("/fairness/?pool=none").status_code == 404
    empty = as_(everybody.olga).get("/fairness/chat-8b/charts/").json()
    assert empty["empty"] and empty["no_debts"]


def test_figures(everybody: Everybody, as_: As) -> None:
    world = everybody.world
    for ago in (5, 30):
        measure(world.pool, ago)
        EntitlementSample.objects.create(
            at=now() - timedelta(seconds=ago), entitlement_id=world.eve.pk, pool_id=world.pool.pk,
            tenant_id=world.eve.tenant_id, elapsed_s=5, use_tokens_per_second=1, use_kv_bytes=1, use_concurrency=1,
            limit_tokens_per_second=1, limit_kv_bytes=1, limit_concurrency=1, demand_tokens_per_second=1, weight=1,
            debt=0.2, burst=0, gap_tokens=0, admitted=0,
        )  # fmt: skip
    found = as_(everybody.olga).get("/fairness/chat-8b/charts/?range=15m&dimension=slots").json()
    assert not found["empty"] and not found["no_debts"]
    assert [trace["name"] for trace in found["fairness"]["data"]] == ["Satisfied", "Jain index", "Dispersion"]
    assert found["fairness"]["data"][0]["y"] == [0.8, 0.8]
    assert [trace["name"] for trace in found["debts"]["data"]] == ["Eve"]
    assert found["debts"]["data"][0]["y"] == [0.2, 0.2]
    lending = {trace["meta"]["role"]: trace for trace in found["lending"]["data"]}
    assert lending["lent"]["y"] == [2, 2] and not lending["beyond"]["showlegend"]


@pytest.mark.parametrize("span", RANGES, ids=lambda span: span.name)
def test_every_range_is_read_from_its_own_table(span: Any, everybody: Everybody) -> None:
    pool, moment = everybody.world.pool, now()
    loans = [[1, 2, 600, 0, 60]]
    fields: dict[str, Any] = {"satisfied": 0.5, "jain": 1, "dispersion": 0, "lent": [1, 1, 1], "free": [0, 0, 0]}
    fields |= {"beyond": [0, 0, 0], "loans": loans, "active": 1, "elapsed_s": 60}
    at = moment - timedelta(seconds=min(span.seconds / 2, 3000))
    FairnessSample.objects.create(at=at, pool_id=pool.pk, **{**fields, "loans": [[1, 2, 10, 0, 1]]})
    for span_s in (300, 3600):
        FairnessSpan.objects.create(at=at, pool_id=pool.pk, span_s=span_s, satisfied_least=0.5, **fields)
    made, seconds = loans_total(pool.pk, span, moment)
    assert seconds == 60 and [loan.amount for loan in made] == [(10, 0, 1)]
    (point,) = fairness_history(pool.pk, span, moment, 2)
    assert (point.satisfied, point.lent) == (0.5, 1)


def test_pages_of_a_full_pool_ask_no_more_queries(
    everybody: Everybody, as_: As, django_assert_max_num_queries: Any
) -> None:
    tier = everybody.world.bob.tier
    for number in range(60):
        cast.leftover(everybody.world.pool, cast.tenant_make(f"tenant-{number}"), tier, cast.slots(1))
    publish(everybody.world.pool)
    client = as_(everybody.olga)
    client.get("/fairness/?pool=chat-8b")
    with django_assert_max_num_queries(14):
        answer = client.get("/fairness/?pool=chat-8b")
    assert len(answer.context["rows"]) == 50 and (answer.context["pages"], answer.context["total"]) == (2, 63)
    assert len(client.get("/fairness/?pool=chat-8b&page=2").context["rows"]) == 13


def state_of(everybody: Everybody, **changes: Any) -> LiveState:
    state = parse(live_message(everybody.world.pool, **changes).encoded())
    assert state is not None
    return state


def test_rows_scale_debts_around_the_middle_and_shares_to_the_widest(everybody: Everybody) -> None:
    world = everybody.world
    tick_kept(world.pool)
    counters().reserve(Ask(world.pool.pk, world.eve.pk, "e1", 128, 128 * KV_TOKEN))
    tick_kept(world.pool)
    seen = measured(records_read(world.pool.pk).debt_step)
    assert seen is not None and list(seen.satisfied) == [world.eve.pk], "who asks for nothing promised is not compared"
    rows = {row.entitlement_id: row for row in fair_rows(state_of(everybody), 2, seen)}
    eve, bob = rows[world.eve.pk], rows[world.bob.pk]
    assert (eve.debt_from, eve.debt_width, eve.owed) == (50.0, 50.0, True)
    assert (eve.satisfied, bob.satisfied, bob.debt_width) == ("100\u00a0%", "–", 0.0)
    assert bob.share_percent == pytest.approx(100.0) and bob.promised_percent == 0
    assert ordered(list(rows.values()), "satisfied", {})[0] is eve
    assert [row.satisfied for row in fair_rows(state_of(everybody), 2, None)] == ["–"] * 3


def test_the_sentence_counts_who_asks(everybody: Everybody) -> None:
    names, state = {everybody.world.eve.pk: "Eve"}, state_of(everybody)
    assert fairness_sentence(None, {}, None).startswith("No live data")
    assert fairness_sentence(state, names, None).startswith("How promises are kept is measured with the next tick; Eve")
    kept = Measured(Fairness(np.ones(1), 3, 0.75, 0.8, 0.1), {})
    told = fairness_sentence(state, names, kept)
    assert told == (
        "Promises that are asked for are kept to 75\u00a0%, unevenly (Jain index 0.80); Eve is owed most: 20\u00a0%."
    )
    idle = Measured(Fairness(np.ones(1), 0, 1.0, 1.0, 0.0), {})
    assert fairness_sentence(state, names, idle).startswith("Nobody with a promise asks")


def test_a_matrix_names_the_largest_and_sums_the_rest() -> None:
    made = [Loan(lender, 10 + borrower, (0, 0, 5 - lender)) for lender in (1, 2, 3) for borrower in (1, 2)]
    made += [Loan(UNPROMISED, 11, (0, 0, 9)), Loan(BEYOND, 12, (0, 0, 1)), Loan(OTHERS, OTHERS, (0, 0, 2))]
    found = matrix_of(made, 2, 2, 2)
    assert found.lenders == [1, 2, OTHERS, UNPROMISED, BEYOND]
    assert found.borrowers == [11, 12, OTHERS]
    assert found.total == "30\u00a0slots"
    assert max(cell.heat for row in found.cells for cell in row) == 5
    assert matrix_of([], 2, 2, 2).rows == []
    assert matrix_of(made, 0, 2, 2).rows == [], "nothing in another dimension"


def test_the_matrix_alone_for_the_page_that_refreshes_it(everybody: Everybody, as_: As) -> None:
    world = everybody.world
    measure(world.pool, loans=[[world.alice.pk, world.bob.pk, 30, 10**9, 2]])
    text = as_(everybody.ada).get("/fairness/chat-8b/matrix/?range=15m&dimension=slots").content.decode()
    assert "Alice" in text and "2\u00a0slots" in text and "<html" not in text
    assert as_(everybody.ada).get("/fairness/none/matrix/").status_code == 404


def test_polling_gives_the_latest_measure_whichever_tick_made_it(everybody: Everybody, as_: As) -> None:
    world, client = everybody.world, as_(everybody.ada)
    hot().delete(live_key(world.pool.pk))
    assert client.get("/fairness/chat-8b/live/").json() == {}
    tick_kept(world.pool)
    assert counters().reserve(Ask(world.pool.pk, world.eve.pk, "f1", 128, 128 * KV_TOKEN)).admitted
    tick_kept(world.pool)
    publish(world.pool, debt=0.3)
    found = client.get(f"/fairness/chat-8b/live/?rows={world.eve.pk},{world.bob.pk}").json()
    assert [row[0] for row in found["rows"]] == sorted((world.eve.pk, world.bob.pk)), "only the rows that are shown"
    fair = found["pool"]["fair"]
    assert (fair["owed"], fair["most"]) == (1, [world.eve.pk, 0.3])
    kept = {row[0]: row[14] for row in found["rows"]}
    assert fair["active"] == 1 and kept == {world.eve.pk: [1.0], world.bob.pk: []}
    own = publish(world.pool, fair={"active": 2, "satisfied": 0.5, "jain": 1, "dispersion": 0, "owed": 0, "most": None})
    assert b'"active":2' in own
    assert client.get("/fairness/chat-8b/live/").json()["pool"]["fair"]["active"] == 2, "the tick's own measure stays"
