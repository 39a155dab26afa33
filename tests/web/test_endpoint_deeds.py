"""Endpoint dialogs: what is in flight, who loses what, the typed word, the deed and taking it back; the paged table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from pools.models import Endpoint, Entitlement, Pool, RollingRestart
from pools.services.endpoint_rolling import rolling_step
from portal.accounts.models import User
from portal.dashboards.pool_rows import PAGE
from portal.lib.clock import now
from tests.cast import NOW, promise, replica_ready, slots, tenant_make
from tests.portal_cast import publish
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


@pytest.fixture
def olga(everybody: Everybody, as_: As) -> Client:
    Endpoint.objects.update(running=5, waiting=2, kv_usage=0.4)
    return as_(everybody.olga)


@pytest.fixture
def endpoint(everybody: Everybody) -> Endpoint:
    return Endpoint.objects.get()


def at(endpoint: Endpoint, deed: str) -> str:
    return f"/pools/chat-8b/endpoints/{endpoint.pk}/{deed}/"


@pytest.mark.parametrize(
    ("deed", "said"),
    [("drain", "every stream on it ends by itself"), ("restart", "in its place"), ("stop", "Its streams are cut")],
)
def test_the_dialog_says_what_is_in_flight_and_who_loses_what(
    deed: str, said: str, olga: Client, endpoint: Endpoint
) -> None:
    text = olga.get(at(endpoint, deed), HTTP_HX_REQUEST="true").content.decode()
    assert "<html" not in text and said in text
    assert '<b class="num">5</b> running, <b class="num">2</b> waiting' in text
    assert "only ready replica" in text and "1 reserved promise could not be kept" in text
    page = olga.get(at(endpoint, deed)).content.decode()
    assert "<html" in page and said in page, "a page of its own without scripts"


def test_without_the_typed_word_nothing_happens(olga: Client, endpoint: Endpoint) -> None:
    answer = olga.post(at(endpoint, "stop"), {"confirm": "chat"})
    assert answer.status_code == 422 and "nothing was done" in answer.content.decode()
    assert Endpoint.objects.get().state == "ready"


@pytest.mark.django_db(transaction=True)
def test_a_drain_is_done_and_taken_back(everybody: Everybody, as_: As) -> None:
    client, endpoint = as_(everybody.olga), Endpoint.objects.get()
    assert client.post(at(endpoint, "drain"), {"confirm": endpoint.name, "reason": "kernel"}).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.asked) == ("draining", "drain")
    text = client.get("/pools/chat-8b/").content.decode()
    assert at(endpoint, "resume") in text and "(drain)" in text
    client.post(at(endpoint, "resume"))
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.asked) == ("ready", "")
    client.post(at(endpoint, "resume"))
    assert "cannot be resumed" in client.get("/pools/chat-8b/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_drain_may_hold_one_fewer_and_both_are_taken_back(everybody: Everybody, as_: As) -> None:
    client, endpoint = as_(everybody.olga), Endpoint.objects.get()
    Pool.objects.update(wanted_replicas=2)
    replica_ready(everybody.world.pool, 2)
    client.post(at(endpoint, "drain"), {"confirm": endpoint.name, "fewer": "1"})
    pool = Pool.objects.get()
    assert (pool.manual_replicas, pool.wanted_replicas) == (1, 1)
    text = client.get("/pools/chat-8b/").content.decode()
    undo = text.split(f"{at(endpoint, 'resume')}?override=")[1].split('"')[0]
    client.post(f"{at(endpoint, 'resume')}?override={undo}")
    pool.refresh_from_db()
    assert (pool.manual_replicas, pool.wanted_replicas) == (None, 2)


def test_a_stop_has_no_undo_and_a_second_one_is_refused(olga: Client, endpoint: Endpoint) -> None:
    olga.post(at(endpoint, "stop"), {"confirm": endpoint.name})
    assert '<button class="undo"' not in olga.get("/pools/chat-8b/").content.decode()
    answer = olga.post(at(endpoint, "stop"), {"confirm": endpoint.name})
    assert answer.status_code == 409 and "nothing to stop" in answer.content.decode()


def test_strange_addresses_are_404(olga: Client, endpoint: Endpoint) -> None:
    for path in (at(endpoint, "explode"), "/pools/chat-8b/endpoints/999999/drain/", "/pools/none/endpoints/1/drain/"):
        assert olga.get(path).status_code == 404, path


def test_auditors_see_endpoints_without_deeds(everybody: Everybody, as_: As, endpoint: Endpoint) -> None:
    text = as_(everybody.ada).get("/pools/chat-8b/").content.decode()
    assert endpoint.name in text and at(endpoint, "drain") not in text


@pytest.fixture
def crowd(everybody: Everybody) -> Pool:
    """Seventy elastic tenants beside the three."""
    pool, tier = everybody.world.pool, everybody.world.eve.tier
    Pool.objects.update(max_replicas=100)
    for number in range(70):
        promise(pool, tenant_make(f"team-{number:03}"), tier, slots(1))
    publish(pool)
    return pool


def ids(answer: Any) -> list[int]:
    return [row.entitlement.pk for row in answer.context["table"].rows]


def test_a_crowded_table_is_paged_in_one_order(crowd: Pool, everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    first = client.get("/pools/chat-8b/")
    table = first.context["table"]
    assert len(table.rows) == PAGE and table.total == 73
    assert table.rows[0].entitlement.tenant.slug == "alice", "the strongest class first"
    rest = client.get("/pools/chat-8b/rows/", {"cursor": table.next})
    assert len(ids(rest)) == 23 and not rest.context["table"].next
    assert rest.context["table"].rows[-1].entitlement.tenant.slug == "bob", "spot comes last"
    assert len(set(ids(first)) | set(ids(rest))) == 73
    assert ids(client.get("/pools/chat-8b/rows/")) == ids(first), "no update changes the order"


def test_a_search_narrows_the_table_and_stays_in_the_address(crowd: Pool, everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    answer = client.get("/pools/chat-8b/rows/", {"q": "team-06", "range": "1h"})
    assert len(ids(answer)) == 10 and answer["HX-Replace-Url"] == "/pools/chat-8b/?range=1h&q=team-06"
    assert len(ids(client.get("/pools/chat-8b/?q=team-06"))) == 10
    assert "Nobody matches" in client.get("/pools/chat-8b/rows/", {"q": "zzz\x00<b>"}).content.decode()
    assert client.get("/pools/chat-8b/rows/", {"cursor": "nonsense"}).status_code == 400


def test_the_polled_message_holds_the_rows_that_are_shown(crowd: Pool, everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    assert len(client.get("/pools/chat-8b/live/").json()["rows"]) == 73, "small enough to be whole"
    eve = everybody.world.eve.pk
    found = client.get(f"/pools/chat-8b/live/?rows={eve}").json()
    assert ([row[0] for row in found["rows"]], found["cut"]) == ([eve], True)
    for odd in ("x", "1,2,", "1" * 20_000, "[]", '1],"a":[1'):
        assert client.get("/pools/chat-8b/live/", {"rows": odd}).status_code == 200, odd


def test_charts_gather_the_many_as_others(crowd: Pool, everybody: Everybody, as_: As) -> None:
    found = as_(everybody.olga).get("/pools/chat-8b/charts/").json()
    roles = [trace["meta"] for trace in found["use"]["data"]]
    assert len(found["rows"]) == 14 and {"role": "tenant", "tenant": 0} in roles
    assert any(trace["name"] == "59 others" for trace in found["use"]["data"])


ROLLING = "/pools/chat-8b/endpoints/rolling/"


def seen(client: Client, **given: str) -> dict[str, str]:
    """What the dialog sends once the slug is typed."""
    text = client.get(ROLLING, HTTP_HX_REQUEST="true").content.decode()
    token = text.split('name="token" value="')[1].split('"')[0]
    return {"token": token, "confirm": "chat-8b", "reason": "new driver", **given}


def test_the_rolling_dialog_says_who_loses_what_while_one_is_away(olga: Client, everybody: Everybody) -> None:
    replica_ready(everybody.world.pool, 2)
    promise(everybody.world.pool, tenant_make("large"), everybody.world.alice.tier, slots(20))
    Entitlement.objects.update(state="bound")
    text = olga.get(ROLLING, HTTP_HX_REQUEST="true").content.decode()
    assert "<html" not in text and "Restart all 2 endpoints of chat-8b, one after the other?" in text
    assert '<b class="num">5</b> running, <b class="num">2</b> waiting on 2 endpoints' in text
    assert "While one is away: 1 reserved promise could not be kept" in text and "at one more first" in text
    assert "<html" in olga.get(ROLLING).content.decode(), "a page of its own without scripts"


@pytest.mark.django_db(transaction=True)
def test_a_rolling_restart_is_typed_shown_and_its_rest_left_alone(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    replica_ready(everybody.world.pool, 2)
    Pool.objects.update(wanted_replicas=2)
    refused = client.post(ROLLING, seen(client, confirm="chat"))
    assert refused.status_code == 422 and "new driver" in refused.content.decode()
    form = seen(client)
    replica_ready(everybody.world.pool, 3)
    stale = client.post(ROLLING, form)
    assert stale.status_code == 412 and "moved after the preview was made" in stale.content.decode()
    assert not RollingRestart.objects.exists()
    assert client.post(ROLLING, seen(client)).status_code == 302
    rolling_step(everybody.world.pool.pk, now())
    page = client.get("/pools/chat-8b/").content.decode()
    undo = f"{ROLLING}{RollingRestart.objects.get().pk}/cancel/"
    assert page.count(f'action="{undo}"') == 2, "in the toast and beside the progress"
    assert "Rolling restart: 0 of 3" in page and "now chat-8b-1" in page and "new driver" in page
    assert "Leave the rest alone" not in as_(everybody.ada).get("/pools/chat-8b/").content.decode()
    assert "runs already" in client.get(ROLLING).content.decode()
    assert client.post(ROLLING, seen(client)).status_code == 409
    Client().post(undo)
    assert as_(everybody.ada).post(undo).status_code == 403
    text = client.post(undo, follow=True).content.decode()
    assert "2 of 3 were left alone" in text and "Rolling restart cancelled" in text
    assert "cancelled already" in client.post(undo, follow=True).content.decode()
    assert client.post(f"{ROLLING}999/cancel/").status_code == 404


def test_a_rolling_restart_that_nobody_drives_says_so_and_an_old_one_is_gone(olga: Client) -> None:
    olga.post(ROLLING, seen(olga))
    assert "No worker has looked" not in olga.get("/pools/chat-8b/endpoints/").content.decode()
    RollingRestart.objects.update(looked_at=NOW)
    assert "No worker has looked at it since" in olga.get("/pools/chat-8b/endpoints/").content.decode()
    RollingRestart.objects.update(state="done", ended_at=NOW)
    text = olga.get("/pools/chat-8b/endpoints/").content.decode()
    assert "Rolling restart" not in text and "Restart all, one after the other" in text
