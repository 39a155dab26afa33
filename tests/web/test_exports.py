"""Lists as CSV: what passes the page's filters, in its order, safe for a spreadsheet, for who reads everything."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import timedelta

from django.test import Client

from pools.models import Alert, AlertRule, EntitlementRequest, ScalingDecision
from portal.accounts.models import User
from portal.lib.clock import now
from tests.portal_cast import publish
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


def table(client: Client, address: str) -> list[dict[str, str]]:
    answer = client.get(address)
    assert answer.status_code == 200 and "attachment" in answer["Content-Disposition"]
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


def test_tiers_with_their_terms_and_filters(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.ada)
    rows = table(client, "/tiers.csv")
    assert [row["class"] for row in rows] == ["guaranteed", "elastic", "spot"], "in the order of the page"
    assert rows[1]["entitlements"] == "1" and rows[1]["version"] == "1" and float(rows[1]["class_weight"]) > 0
    assert [row["class"] for row in table(client, "/tiers.csv?class=spot")] == ["spot"]
    assert table(client, "/tiers.csv?archived=1") == []
    assert "/tiers.csv?class=spot" in client.get("/tiers/?class=spot&after=").content.decode()


def test_requests_with_what_was_decided(everybody: Everybody, as_: As) -> None:
    world, client = everybody.world, as_(everybody.olga)
    for state, reason in (("open", "=1+1"), ("denied", "Too much.")):
        EntitlementRequest.objects.create(
            tenant=world.eve.tenant, pool=world.pool, asked_tokens_per_second=5, asked_kv_bytes=6, asked_concurrency=7,
            state=state, reason=reason,
        )  # fmt: skip
    (row,) = table(client, "/requests.csv")
    assert (row["tenant"], row["asked_concurrency"], row["reason"]) == ("eve", "7", "'=1+1")
    assert {row["state"] for row in table(client, "/requests.csv?state=any")} == {"open", "denied"}
    assert table(client, "/requests.csv?q=nobody") == []


def test_scaling_decisions_by_the_filters_of_the_page(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.ada)
    for before, chosen in ((1, 2), (2, 2)):
        ScalingDecision.objects.create(
            pool=everybody.world.pool, at=now() - timedelta(seconds=before), ready=1, pending=0, before=before, floor=1,
            need=1.7, chosen=chosen, code="up", reason="Demand needs 1.70 replicas.", applied=True,
        )  # fmt: skip
    assert [row["before"] for row in table(client, "/scaling.csv")] == ["1", "2"], "newest first"
    (row,) = table(client, "/scaling.csv?moves=1")
    assert (row["chosen"], row["demand_needs"], row["carried_out"]) == ("2", "1.7", "True")
    assert table(client, "/scaling.csv?pool=none") == []


def test_alerts_that_opened(everybody: Everybody, as_: As) -> None:
    moment, client = now(), as_(everybody.ada)
    rule = AlertRule.objects.create(name="Room", metric="headroom", below=True, thresholds=[])
    Alert.objects.create(
        rule=rule, pool=everybody.world.pool, level="warning", threshold=15, value=9, worst=7, seen_at=moment,
        sentence="9 % free.", since=moment, opened_at=moment,
    )  # fmt: skip
    (row,) = table(client, "/alerts.csv?level=warning")
    assert (row["rule"], row["pool"], row["worst"], row["cleared_at"]) == ("Room", "chat-8b", "7.0", "")
    assert table(client, "/alerts.csv?level=critical") == [] and table(client, "/alerts.csv?pool=none") == []


def test_pools_with_what_they_use_and_people_with_what_they_may(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.ada)
    publish(everybody.world.pool, busy=0.5)
    (row,) = table(client, "/pools.csv?q=chat")
    assert (row["pool"], row["ready"]) == ("chat-8b", "2") and float(row["use_concurrency"]) > 0
    assert table(client, "/pools.csv?archived=1") == [] and table(client, "/pools.csv?q=none") == []
    people = {row["email"]: row for row in table(client, "/people.csv")}
    assert (
        people["olga@example.org"]["platform_role"] == "operator"
        and people["eda@example.org"]["tenants"] == "eve:admin"
    )
    assert [row["email"] for row in table(client, "/people.csv?q=olga")] == ["olga@example.org"]
