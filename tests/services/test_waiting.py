"""Nobody waits for a lock for ever: a page says who is in the way, a task goes on later, maintenance steps aside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as live
from django.db import OperationalError, connection, connections, transaction
from django.test import Client

from billing.services import partitions
from billing.services.partitions import partitions_drop, partitions_make
from pools import tasks
from pools.services import books
from portal import errors
from portal.accounts.models import Tenant
from portal.lib.contention import contended, impatient
from portal.lib.pooled.base import DatabaseWrapper
from portal.settings import _database
from tests.cast import NOW, tenant_make
from tests.portal_cast import person

SHORT_S = 0.05
WAIT_S = 60


@contextmanager
def held(take: Callable[[], Any]) -> Iterator[None]:
    """Another connection, in a thread of its own, keeps what ``take`` locks until the block ends."""
    taken, enough = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                take()
                taken.set()
                assert enough.wait(WAIT_S)
        finally:
            taken.set()
            connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert taken.wait(WAIT_S)
        yield
    finally:
        enough.set()
        thread.join(WAIT_S)


def asked(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()


@pytest.fixture
def short() -> Iterator[None]:
    """This connection waits hardly at all."""
    asked(f"SELECT set_config('lock_timeout', '{round(SHORT_S * 1000)}ms', false)")
    yield
    asked(f"SELECT set_config('lock_timeout', '{round(live.LOCK_TIMEOUT * 1000)}ms', false)")


@pytest.mark.django_db
def test_every_connection_has_the_bound() -> None:
    assert asked("SHOW lock_timeout") == ("10s",)
    with impatient(1.5):
        assert asked("SHOW lock_timeout") == ("1500ms",)


@pytest.mark.django_db(transaction=True)
def test_a_page_whose_row_is_held_answers_409(short: None) -> None:
    tenant = tenant_make("alice")
    client = Client()
    client.force_login(person("olga@example.org", platform_role="operator"))
    address = f"/tenants/{tenant.slug}/suspend/"
    given = {"reason": "unpaid", "running": "finish", "confirm": "alice"}
    with held(lambda: Tenant.objects.select_for_update().get(pk=tenant.pk)):
        answer = client.post(address, given)
        assert answer.status_code == 409 and errors.CONTENDED[:40] in answer.content.decode()
    tenant.refresh_from_db()
    assert tenant.state == "active", "nothing was changed"
    assert client.post(address, given).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_a_task_whose_row_is_held_does_not_take_the_books_for_away(
    short: None, caplog: pytest.LogCaptureFixture
) -> None:
    tenant, failures = tenant_make("alice"), books.books_failures()
    with held(lambda: Tenant.objects.select_for_update().get(pk=tenant.pk)), tasks.asking_books("deed"):
        Tenant.objects.filter(pk=tenant.pk).update(name="Other")
    assert "deed waits" in caplog.text and "lock timeout" in caplog.text
    assert books.books_failures() == failures and not books.books_away()


@pytest.mark.django_db(transaction=True)
def test_partitions_of_a_table_in_use_wait_for_the_next_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "PATIENCE_S", SHORT_S)
    far, later = NOW + timedelta(days=5000), NOW + timedelta(days=9000)
    with held(lambda: asked("SELECT count(*) FROM pools_reading_default")):
        made = partitions_make(far, ahead=0)
    assert made and not any(name.startswith("pools_reading") for name in made)
    assert [name for name in partitions_make(far, ahead=0) if name.startswith("pools_reading")]
    with held(lambda: asked("SELECT count(*) FROM pools_reading")):
        dropped = partitions_drop(later)
    assert dropped and not any(name.startswith("pools_reading") for name in dropped)
    assert [name for name in partitions_drop(later) if name.startswith("pools_reading")]
    with connection.cursor() as cursor:
        for name in made:  # those of tables that are kept for ever
            cursor.execute(f"DROP TABLE IF EXISTS {name}")


@pytest.mark.django_db(transaction=True)
def test_behind_a_pooler_each_transaction_sets_its_own_bound(settings: Any) -> None:
    settings.LOCK_TIMEOUT = SHORT_S
    tenant, url = tenant_make("alice"), "postgresql://somebody@pooler/app?options=-c%20geqo%3Doff"
    assert "lock_timeout" not in _database(url, pooler=True)["OPTIONS"]["options"]
    assert _database(url, pooler=False)["OPTIONS"]["options"] == "-c geqo=off -c lock_timeout=10000"
    own = {**connection.settings_dict, "OPTIONS": {}}
    other = DatabaseWrapper(own, "default")
    try:
        with other.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("0",)
        other.set_autocommit(False)
        with held(lambda: Tenant.objects.select_for_update().get(pk=tenant.pk)), other.cursor() as cursor:
            with pytest.raises(OperationalError) as refused:
                cursor.execute("UPDATE accounts_tenant SET name = 'x' WHERE id = %s", [tenant.pk])
            assert contended(refused.value)
        other.rollback()
        other.set_autocommit(True)
        with other.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("0",), "nothing is left to whoever gets the connection next"
    finally:
        other.close()
