"""The audit pages: filters in the address, diffs, export, verification; fast on many records; who may not."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils.html import escape

from pools.services.entitlements import entitlement_change
from portal.accounts.models import Tenant, User
from portal.audit.chain import record_hash
from portal.audit.models import AuditCheck, AuditRecord, Source
from portal.audit.selectors import PAGE, AuditQuery, audit_page, audit_stream, choices, matching
from portal.audit.services import Actor, audit_record
from portal.lib.clock import now
from tests.cast import NOW, OLGA, later
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
LONG = "ع" * 190 + "🚀 <b>"


def change(everybody: Everybody, number: int = 1, **more: Any) -> AuditRecord:
    """A change of Alice's tenant."""
    tenant = everybody.world.alice.tenant
    given = {
        "actor": Actor(everybody.olga, Source.PAGE),
        "verb": "tenant_rename",
        "target": tenant,
        "before": {"name": "Alice", "kept": 1, "base_kv_bytes": 2**30},
        "after": {"name": LONG, "kept": 1, "base_kv_bytes": 2**31},
        "reason": f"reason {number}",
        "now": later(number),
        "tenant": tenant,
        **more,
    }
    return audit_record(**given)


def test_a_change_is_shown_field_by_field(everybody: Everybody, as_: As) -> None:
    made = change(everybody)
    client = as_(everybody.ada)
    text = client.get("/audit/").content.decode()
    assert "olga@example.org" in text and "tenant rename" in text and "reason 1" in text
    assert "<del>Alice</del>" in text and "kept" not in text
    whole = client.get(f"/audit/{made.pk}/").content.decode()
    assert escape(LONG) in whole and "1 GiB → 2 GiB" in whole and "hash fits" in whole
    assert client.get("/audit/99999999999999999999/").status_code == 404
    assert f'href="/audit/{made.pk - 1}/"' in whole


def test_every_filter_works_alone_and_is_in_the_address(everybody: Everybody, as_: As) -> None:
    made = change(everybody)
    change(everybody, 2, verb="other", actor=OLGA, target=everybody.world.pool, tenant=None)
    client = as_(everybody.olga)
    for address in (
        "verb=tenant_rename",
        "actor=OLGA@example.org&verb=tenant_rename",
        "tenant=alice&verb=tenant_rename",
        f"type=accounts.tenant&id={made.object_id}&verb=tenant_rename",
        f"q=alic&from={later(0):%Y-%m-%dT%H:%M:%S}&to={later(2):%Y-%m-%dT%H:%M:%S}&verb=tenant_rename",
    ):
        found = client.get(f"/audit/?{address}").context["lines"]
        assert [line.record.pk for line in found] == [made.pk], address
    assert client.get("/audit/?verb=nope").context["lines"] == []
    assert client.get("/audit/?source=page&verb=other").context["lines"][0].record.verb == "other"
    assert client.get("/audit/?range=1h&verb=other").context["lines"] == [], "the world is older than an hour"
    for odd in (
        "from=x&to=y",
        "after=zz",
        "after=99999999999999999999",
        "q=%00",
        "tenant=none",
        "source=moon",
        "range=9y",
    ):
        assert client.get(f"/audit/?{odd}").status_code == 200, odd


def test_pages_follow_each_other_without_gap_or_repeat(everybody: Everybody) -> None:
    for number in range(PAGE + 20):
        change(everybody, number % 3, verb="paged")
    for query in (AuditQuery(verb="paged"), AuditQuery(verb="paged", start=NOW - timedelta(days=1))):
        first, cursor = audit_page(query)
        second, end = audit_page(query, cursor)
        ids = [row.pk for row in [*first, *second]]
        assert len(set(ids)) == PAGE + 20 and end is None
        assert ids == [row.pk for row in matching(query)]
    assert "paged" in choices()["verbs"] and choices()["types"] == sorted(set(choices()["types"]))


def test_export_streams_what_the_filters_let_through(
    everybody: Everybody, as_: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.audit.selectors.STREAM", 2)
    for number in range(5):
        change(everybody, number, reason='=HYPERLINK("x")')
    client = as_(everybody.ada)
    answer = client.get("/audit/export.csv?verb=tenant_rename")
    assert answer.streaming and "attachment" in answer["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert len(rows) == 5 and rows[0]["reason"].startswith("'=")
    assert json.loads(rows[0]["after"])["name"] == LONG
    lines = [json.loads(line) for line in client.get("/audit/export.jsonl").getvalue().decode().splitlines()]
    assert len(lines) == AuditRecord.objects.count()
    assert all(record_hash(line["previous_hash"], line["content"]) == line["hash"] for line in lines)
    assert client.get("/audit/export.exe").status_code == 404
    assert list(audit_stream(AuditQuery(verb="none"))) == []


def test_who_may_not_read_or_export(everybody: Everybody, as_: As) -> None:
    for who in (everybody.eda, everybody.anna, everybody.vera):
        client = as_(who)
        for at in ("/audit/", "/audit/1/", "/audit/export.csv", "/audit/export.jsonl"):
            assert client.get(at).status_code == 403, at
        assert client.post("/audit/verify/").status_code == 403
    assert as_(None).get("/audit/export.csv").status_code == 302


def test_verification_on_the_page(everybody: Everybody, as_: As) -> None:
    client = as_(everybody.ada)
    assert "has not been verified yet" in client.get("/audit/").content.decode()
    assert client.post("/audit/verify/").status_code == 302
    text = client.get("/audit/").content.decode()
    assert "the whole chain is intact" in text and "Verified up to" in text
    made = change(everybody)
    assert "recorded, and verified up to #" in client.get("/audit/").content.decode()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE audit_auditrecord SET reason = 'none' WHERE id = %s", [made.pk])
    client.post("/audit/verify/")
    text = client.get("/audit/").content.decode()
    assert f"The chain is broken at #{made.pk:,}" in text and "Broken at" in text
    assert "hash differs" in client.get(f"/audit/{made.pk}/").content.decode()


def test_a_long_pass_shows_how_far_it_is(everybody: Everybody, as_: As) -> None:
    AuditCheck.objects.create(started_at=now(), moved_at=now(), total=1000, checked=250)
    assert "250 of 1000" in as_(everybody.ada).get("/audit/").content.decode()


def test_a_tenants_admin_sees_its_own_history_and_no_name_of_the_platform(everybody: Everybody, as_: As) -> None:
    change(everybody)
    change(everybody, 2, actor=Actor(everybody.anna, Source.PAGE), verb="key_create")
    entitlement_change(
        actor=OLGA,
        now=now(),
        entitlement_id=everybody.world.eve.pk,
        changes={"base_concurrency": 4},
        reason="only eve's business",
    )
    text = as_(everybody.anna).get("/t/alice/audit/").content.decode()
    assert "reason 1" in text and "anna@example.org" in text
    assert "olga@example.org" not in text and "platform operator" in text
    assert "only eve" not in text
    assert as_(everybody.vera).get("/t/alice/audit/").status_code == 403
    assert 'href="/t/alice/audit/"' in text, "and has it in the menu"
    assert 'href="/t/alice/audit/"' not in as_(everybody.vera).get("/t/alice/").content.decode()
    assert as_(everybody.eda).get("/t/alice/audit/").status_code == 404
    assert "only eve" in as_(everybody.eda).get("/t/eve/audit/").content.decode()
    assert "olga@example.org" in as_(everybody.ada).get("/t/alice/audit/").content.decode()


@pytest.mark.slow
def test_filters_stay_on_indexes_with_200_000_records(everybody: Everybody) -> None:
    """What the planner reads of the table, not how long this machine takes: a page must not walk through it."""
    Tenant.objects.create(slug="rare", name="Rare")
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO audit_auditrecord (at, actor_label, source, verb, object_type, object_id, object_label,
                   tenant_id, before, after, reason, previous_hash, hash)
               SELECT timestamptz '2025-01-01 00:00+00' + n * interval '1 minute',
                   CASE WHEN n = 777 THEN 'rare@example.org' ELSE 'person' || n %% 40 || '@example.org' END,
                   CASE WHEN n = 778 THEN 'command' WHEN n %% 3 = 0 THEN 'page' ELSE 'task' END,
                   CASE WHEN n = 779 THEN 'rare_deed' ELSE 'deed_' || n %% 25 END,
                   CASE WHEN n = 780 THEN 'pools.rare' ELSE 'pools.entitlement' END, (n %% 50000)::text,
                   'entitlement ' || n %% 50000, (SELECT id FROM accounts_tenant WHERE slug <> 'rare' OR n = 781
                       ORDER BY id DESC LIMIT 1), '{"weight": 1}', '{"weight": 2}', '', '', md5(n::text)
               FROM generate_series(1, 200000) AS n""",
            [],
        )
        cursor.execute("ANALYZE audit_auditrecord")
    day = later(0).replace(year=2025, month=1, day=20)
    for query in (
        AuditQuery(),
        AuditQuery(actor="rare@example.org"),
        AuditQuery(actor="person7@"),
        AuditQuery(verb="rare_deed"),
        AuditQuery(verb="deed_3"),
        AuditQuery(source="command"),
        AuditQuery(object_type="pools.rare"),
        AuditQuery(object_type="pools.entitlement", object_id="4711"),
        AuditQuery(text="entitlement 4711"),
        AuditQuery(tenant="rare"),
        AuditQuery(start=day, end=day + timedelta(hours=2)),
        AuditQuery(start=day, end=day + timedelta(days=1), verb="deed_3"),
    ):
        assert rows_touched(matching(query)[: PAGE + 1]) < 6000, query


def rows_touched(rows: Any) -> int:
    """Rows of the trail that one execution reads, those it throws away included."""
    plan = json.loads(rows.explain(format="json", analyze=True))[0]["Plan"]

    def walk(node: dict[str, Any]) -> int:
        own = 0
        if node.get("Relation Name") == "audit_auditrecord":
            own = int(node["Actual Rows"]) + int(node.get("Rows Removed by Filter", 0))
            own += int(node.get("Rows Removed by Index Recheck", 0))
        return own + sum(walk(child) for child in node.get("Plans", []))

    return walk(plan)
