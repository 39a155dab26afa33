"""The operators' list of tenants and the page of one."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from django.test import Client

from billing.models import Account
from billing.models.ledger import AccountKind
from pools.services.keys import key_create
from pools.services.tenant_states import tenant_suspend
from pools.services.tenants import tenant_create
from portal.accounts.models import Tenant, User
from portal.dashboards.tenant_list import PAGE
from portal.dashboards.tenants_now import tenants_forget
from tests.cast import NOW, OLGA, later, tenant_make
from tests.portal_cast import publish
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


@pytest.fixture(autouse=True)
def _now() -> None:
    tenants_forget()


def names(client: Client, query: str = "") -> list[str]:
    """Slugs of the shown rows, in order."""
    answer = client.get(f"/tenants/{query}")
    assert answer.status_code == 200
    return [row.tenant.slug for row in answer.context["rows"]]


def owe(everybody: Everybody, millitokens: int) -> None:
    world = everybody.world
    Account.objects.create(
        kind=AccountKind.ENTITLEMENT_DEBT,
        pool=world.pool,
        entitlement=world.eve,
        tenant=world.eve.tenant,
        balance_millitokens=millitokens,
    )


def test_the_list_shows_what_each_holds_uses_and_is_owed(everybody: Everybody, as_: As) -> None:
    owe(everybody, 48_200_000)
    key_create(actor=OLGA, now=NOW, tenant=everybody.world.eve.tenant, name="k")
    answer = as_(everybody.olga).get("/tenants/")
    rows = {row.tenant.slug: row for row in answer.context["rows"]}
    eve = rows["eve"]
    assert (eve.entitlements, eve.keys, eve.people, eve.owed) == (1, 1, 1, 48_200.0)
    assert eve.now.use[2] == 5.0 and eve.now.refused_per_minute == 6.0
    assert (rows["alice"].people, rows["bob"].people) == (3, 0)
    text = answer.content.decode()
    assert "3 active tenants; 3 are being refused something now; 1 owed 48.2" in text
    assert "5 of 10" not in text and "of 150" in text, "tokens per second of the limit"


def test_every_column_sorts_both_ways_and_filters_narrow(everybody: Everybody, as_: As) -> None:
    owe(everybody, 1_000)
    client = as_(everybody.olga)
    tenant_make("zed")
    assert names(client) == ["alice", "bob", "eve", "zed"]
    assert names(client, "?sort=-name") == ["zed", "eve", "bob", "alice"]
    assert names(client, "?sort=-owed")[0] == "eve"
    assert names(client, "?sort=-people")[0] == "alice"
    assert names(client, "?sort=-use")[0] == "bob" and names(client, "?sort=use")[0] == "zed"
    assert names(client, "?sort=entitlements")[0] == "zed"
    assert names(client, "?holds=none") == ["zed"] and "zed" not in names(client, "?holds=some")
    assert names(client, "?trouble=owed") == ["eve"]
    assert names(client, "?trouble=refused") == ["alice", "bob", "eve"]
    assert names(client, "?q=LI") == ["alice"]
    assert names(client, "?q=nobody-has-this") == []
    for sort in ("since", "state", "refused", "keys"):
        assert len(names(client, f"?sort={sort}")) == 4
    tenant_suspend(actor=OLGA, now=later(1), tenant_id=everybody.world.eve.tenant_id, reason="unpaid")
    assert names(client, "?state=suspended") == ["eve"]


@pytest.mark.parametrize("sort", ["", "?sort=-since", "?sort=-people", "?sort=use"])
def test_pages_go_on_where_the_last_one_ended(sort: str, everybody: Everybody, as_: As) -> None:
    for number in range(PAGE + 10):
        tenant_create(actor=OLGA, now=NOW, slug=f"t{number:03}", name=f"Team {number % 7}")
    client, seen, query = as_(everybody.olga), [], sort
    while True:
        answer = client.get(f"/tenants/{query}")
        seen += [row.tenant.slug for row in answer.context["rows"]]
        if not answer.context["next"]:
            break
        query = f"{sort or '?'}&cursor={answer.context['next']}"
    assert len(seen) == len(set(seen)) == Tenant.objects.count()


def test_a_broken_place_in_the_list_says_so(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.olga)
    assert client.get("/tenants/?cursor=nonsense").status_code == 400
    assert client.get("/tenants/?q=%00").status_code == 400
    assert client.get("/tenants/?sort=-nothing&state=odd&holds=odd&trouble=odd").status_code == 200


def test_the_first_tenant_is_offered_where_there_is_none(as_: As, db: None) -> None:
    from portal.accounts.choices import PlatformRole
    from tests.portal_cast import person

    text = as_(person("olga@example.org", PlatformRole.OPERATOR)).get("/tenants/").content.decode()
    assert "There is none yet" in text and "Onboard the first tenant" in text
    text = as_(person("ada@example.org", PlatformRole.AUDITOR)).get("/tenants/").content.decode()
    assert "Onboard" not in text, "what a role cannot do is hidden"


def test_the_list_leaves_as_csv(everybody: Everybody, as_: As) -> None:
    Tenant.objects.filter(slug="bob").update(name="=cmd()")
    answer = as_(everybody.ada).get("/tenants.csv?sort=-use")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [row["slug"] for row in rows] == ["bob", "eve", "alice"], "in the order of the page"
    assert rows[0]["name"] == "'=cmd()" and float(rows[1]["use_slots"]) == 5.0


def test_no_live_data_is_not_zero(everybody: Everybody, as_: As, valkey: object) -> None:
    publish(everybody.world.pool, at_ms=1)
    answer = as_(everybody.olga).get("/tenants/")
    assert all(row.now is None for row in answer.context["rows"])
    assert "no live data" in as_(everybody.olga).get("/tenants/eve/").content.decode()


def test_the_page_of_a_tenant_in_every_state(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.ada)
    text = client.get("/tenants/eve/").content.decode()
    assert "Uses 75 of 150" in text and "6 refused a minute" in text
    assert ">Suspend<" not in text and ">Edit<" not in text, "an auditor changes nothing"
    assert client.get("/tenants/eve/?tab=nonsense").context["tab"] == ""
    tenant_suspend(actor=OLGA, now=later(1), tenant_id=everybody.world.eve.tenant_id, reason="unpaid bill")
    assert "every request is refused. unpaid bill" in client.get("/tenants/eve/").content.decode()
    tenant_make("empty")
    assert "holds no entitlement" in client.get("/tenants/empty/").content.decode()
    assert client.get("/tenants/nobody/").status_code == 404


def test_the_history_of_a_tenant_is_its_own(everybody: Everybody, as_: As) -> None:
    tenant_suspend(actor=OLGA, now=later(1), tenant_id=everybody.world.eve.tenant_id, reason="unpaid bill")
    client = as_(everybody.ada)
    assert "tenant suspend" in client.get("/tenants/eve/?tab=history").content.decode()
    assert "tenant suspend" not in client.get("/tenants/alice/?tab=history").content.decode()


def test_odd_names_do_not_break_a_row(everybody: Everybody, as_: As) -> None:
    for slug, name in (("ar", "فريق البيانات"), ("emo", "🚀 Rockets & <b>Co</b>"), ("long", "x" * 200)):
        tenant_create(actor=OLGA, now=NOW, slug=slug, name=name)
    client = as_(everybody.olga)
    text = client.get("/tenants/").content.decode()
    assert "فريق البيانات" in text and "<b>Co</b>" not in text
    for slug in ("ar", "emo", "long"):
        assert client.get(f"/tenants/{slug}/").status_code == 200


def test_columns_and_density_are_in_the_address(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.ada)
    answer = client.get("/tenants/?cols=contact&cols=debt&cols=nonsense&dense=1&state=active")
    assert [key for key, _, _ in answer.context["heads"]] == ["name", "debt", "contact"], "the name is always there"
    text = answer.content.decode()
    assert "rows dense" in text and "owed 20" in text and "Use of limit</a>" not in text
    assert ("state", "active") in answer.context["kept"], "a choice of columns keeps the filters"
    usual = client.get("/tenants/?cols=nonsense").context["heads"]
    assert [key for key, _, _ in usual][:3] == ["name", "state", "entitlements"]
    assert names(client, "?sort=-debt")[0] == "eve" and names(client, "?sort=debt")[-1] == "eve"


def test_live_numbers_of_the_shown_rows(everybody: Everybody, as_: As) -> None:
    owe(everybody, 2_000_000)
    world, client = everybody.world, as_(everybody.ada)
    publish(world.pool, busy=1.0, debt=0.4)
    tenants_forget()
    found = client.get(f"/tenants-live/?ids={world.eve.tenant_id},999999,x,").json()
    assert found["at"] and len(found["rows"]) == 1
    key, state, use, limit, _, _, refused, debt, owed = found["rows"][0]
    assert (key, state, refused, debt, owed) == (world.eve.tenant_id, "active", 6.0, 0.4, 2000)
    assert use == limit
    assert client.get("/tenants-live/").json()["rows"] == []
    assert client.get("/tenants-live/?ids=" + ",".join(str(one) for one in range(5000))).status_code == 200
