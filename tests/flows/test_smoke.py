"""The audit agrees after honest work and notices who has been at the books; the whole run works from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from billing.models import Account, Entry, Transfer, UsageEvent
from billing.services.usage import usage_drain
from pools.counters.types import OUTCOMES, Ask, Settlement
from pools.models import Endpoint, PoolSample, ScalingDecision
from pools.services.overcommit import OverCommit
from pools.services.store import counters
from portal.env import BASE_DIR
from portal.lib.clock import now
from portal.management.commands import smoke as command
from portal.smoke.books import books_of
from portal.smoke.checks import Check, Seen, checks_of
from portal.smoke.run import Smoked
from tests.cast import KV_TOKEN, World, world_make

OVER = OverCommit(looks=1).summary()
SENT = 6


@pytest.fixture
def world(db: None, valkey: object) -> World:
    """Six requests of Alice and Bob came, ran and were stored."""
    made = world_make()
    for number in range(SENT):
        reserve(made, f"r{number}", made.alice if number % 2 else made.bob)
        settle(made, f"r{number}", made.alice if number % 2 else made.bob)
    usage_drain(made.pool.pk, now())
    zero = [0.0, 0.0, 0.0]
    PoolSample.objects.create(
        at=now(), pool_id=made.pool.pk, capacity=zero, promised=zero, use=zero, hold=zero,
        ready=1, pending=0, wanted=1, contended=False, lag_ms=3,
    )  # fmt: skip
    return made


def reserve(world: World, request_id: str, row: Any) -> None:
    assert counters().reserve(Ask(world.pool.pk, row.pk, request_id, 128, 128 * KV_TOKEN)).admitted


def settle(world: World, request_id: str, row: Any, outcome: str = "completed") -> None:
    done = Settlement(
        world.pool.pk, row.pk, request_id, 100, OUTCOMES.index(outcome), input_tokens=60, output_tokens=40
    )
    assert counters().settle(done).status == 1


def seen(**changes: int) -> Seen:
    honest = Seen(SENT, SENT, 0, 0, 40 * SENT, 0, witness_sent=1, witness_refused=0, witness_broken=0)
    return replace(honest, **changes)


def wrong(world: World, by: Seen | None = None, over: dict[str, Any] | None = None) -> set[str]:
    checks = checks_of(books_of(world.pool.pk), by or seen(), over or OVER)
    return {check.name for check in checks if not check.passed}


def test_honest_books_agree(world: World) -> None:
    checks = checks_of(books_of(world.pool.pk), seen(), OVER)
    assert [check for check in checks if not check.passed] == []
    assert len(checks) >= 30


def delete_usage_row(world: World) -> None:
    sql("DELETE FROM billing_usageevent WHERE request_id = 'r1'")


def forge_usage_row(world: World) -> None:
    names = ", ".join(field.column for field in UsageEvent._meta.concrete_fields if field.column != "event_id")
    sql(
        f"INSERT INTO billing_usageevent ({names}, event_id) "
        f"SELECT {names}, 'forged' FROM billing_usageevent WHERE request_id = 'r1'"
    )


def overcharge(world: World) -> None:
    sql("UPDATE billing_usageevent SET charged_tokens = charged_tokens + 1 WHERE request_id = 'r2'")


def move_a_charge(world: World) -> None:
    """The sum stays the same; one tenant pays for another."""
    sql(f"UPDATE billing_usageevent SET entitlement_id = {world.alice.pk} WHERE request_id = 'r2'")


def change_a_rollup(world: World) -> None:
    sql("UPDATE billing_usageminute SET requests = requests + 1")


def leak_a_reservation(world: World) -> None:
    reserve(world, "leaked", world.alice)


def settle_without_storing(world: World) -> None:
    reserve(world, "unstored", world.alice)
    settle(world, "unstored", world.alice)


def lose_a_replica(world: World) -> None:
    Endpoint.objects.filter(pool=world.pool).update(state="failed")


def scale_out_of_nowhere(world: World) -> None:
    for before, chosen in ((1, 2), (3, 1)):
        ScalingDecision.objects.create(
            pool=world.pool, at=now(), ready=1, pending=0, before=before, floor=1, need=1, chosen=chosen, applied=True
        )


def post_one_sided(world: World) -> None:
    """With the database's own guard switched off, as only its superuser can."""
    at, tenant = now(), world.eve.tenant
    owed = Account.objects.create(kind="entitlement_debt", pool=world.pool, entitlement=world.eve, tenant=tenant)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        transfer = Transfer.objects.create(
            pool=world.pool,
            tenant=tenant,
            kind="accrual",
            at=at,
            period_start=at,
            period_end=at,
            idempotency_key="x",
        )
        Entry.objects.create(transfer=transfer, account=owed, amount_millitokens=5)
        cursor.execute("SET LOCAL session_replication_role = origin")


@pytest.mark.parametrize(
    ("tamper", "noticed"),
    [
        (delete_usage_row, {"usage rows stored = usage events", "tokens charged, counters and rows"}),
        (forge_usage_row, {"usage rows, each request once", "usage rows stored = usage events"}),
        (overcharge, {"tokens charged, counters and rows", "entitlements charged differently"}),
        (move_a_charge, {"entitlements charged differently"}),
        (change_a_rollup, {"requests in minute roll-ups"}),
        (leak_a_reservation, {"live reservations left", "reservations = settlements + expiries", "tokens reserved"}),
        (settle_without_storing, {"usage not stored yet", "usage rows stored = usage events"}),
        (lose_a_replica, {"replicas wanted = ready", "replicas alive = wanted"}),
        (scale_out_of_nowhere, {"decisions that do not follow the one before"}),
        (post_one_sided, {"ledger transfers that do not sum to zero", "sum of all ledger entries, milli-tokens"}),
    ],
)
def test_who_tampers_is_noticed(world: World, tamper: Callable[[World], None], noticed: set[str]) -> None:
    tamper(world)
    assert wrong(world) >= noticed


@pytest.mark.parametrize(
    ("by", "over", "noticed"),
    [
        (seen(witness_refused=1), OVER, "of those refused"),
        (seen(witness_sent=0), OVER, "requests of witnesses within their base"),
        (seen(witness_broken=1), OVER, "of those broken"),
        (seen(failed=1), OVER, "answers that failed or broke off"),
        (seen(admitted=SENT - 1), OVER, "reservations and answers clients got"),
        (seen(completed=SENT - 1), OVER, "completed requests, clients and rows"),
        (seen(good_tokens=40 * SENT + 1), OVER, "their output tokens, clients and rows"),
        (seen(), {**OVER, "sequences": 1}, "sequences beyond the rule"),
        (seen(), {**OVER, "kv_bytes": 16}, "KV bytes beyond the rule"),
        (seen(), {**OVER, "looks": 0}, "looks for over-commitment"),
    ],
)
def test_what_clients_saw_counts_too(world: World, by: Seen, over: dict[str, Any], noticed: str) -> None:
    assert wrong(world, by, over) == {noticed}


@pytest.mark.parametrize(("passed", "status"), [(True, 0), (False, 1)])
def test_a_wrong_check_is_a_failed_command(monkeypatch: pytest.MonkeyPatch, passed: bool, status: int) -> None:
    result = Smoked([Check("a", "1", "1", True), Check("b", "1", "2", passed)], {}, [])
    monkeypatch.setattr(command, "smoke", lambda plan, say: result)
    with pytest.raises(SystemExit) as ended:
        call_command("smoke", inside="http://127.0.0.1:1", json=True, stdout=StringIO())
    assert ended.value.code == status


def test_bad_input_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a trace\n")
    for words, told in (
        (["--trace", str(tmp_path / "absent.csv")], "cannot be read"),
        (["--trace", str(tmp_path / "notes.txt")], "Known traces begin with"),
        (["--folder", str(tmp_path)], "is not empty"),
    ):
        done = run(*words)
        assert done.returncode == 2, done.stderr
        assert told in done.stderr


def test_the_whole_product_keeps_its_books(tmp_path: Path) -> None:
    """Everything at once, from outside: servers, gateway, workers, replicas, a trace; then the audit."""
    trace = tmp_path / "trace.csv"
    rows = (f"{at / 8:.3f},{at % 7},{40 + at * 37 % 400},{4 + at * 13 % 50}\n" for at in range(400))
    trace.write_text("t_s,client,input_tokens,output_tokens\n" + "".join(rows))
    done = run("--trace", str(trace), "--minutes", "0.07", "--json", "--folder", str(tmp_path / "stack"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert result["passed"] is True
    assert result["summary"]["completed"] > 5
    assert not list((tmp_path / "stack" / "run").glob("**/*.json"))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    line = [sys.executable, str(BASE_DIR / "manage.py"), "smoke", *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=110, env=environ)


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.rowcount > 0
