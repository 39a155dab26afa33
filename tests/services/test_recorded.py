"""A deed and its records are one, and two deeds never wait for each other in a circle."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import OperationalError, close_old_connections, connection, transaction
from django.test.utils import CaptureQueriesContext
from psycopg.errors import DeadlockDetected

from portal.accounts.models import Tenant
from portal.audit.models import AuditRecord
from portal.audit.services import audit_record, recorded
from portal.lib.contention import contended
from tests.cast import NOW, OLGA, tenant_make

WAIT_S = 20


def note(tenant: Tenant, verb: str) -> AuditRecord:
    """One record about a tenant."""
    return audit_record(actor=OLGA, verb=verb, target=tenant, before={}, after={}, reason="", now=NOW, tenant=tenant)


def verbs() -> list[str]:
    """What is written, oldest first, without the tenant's own beginning."""
    rows = AuditRecord.objects.exclude(verb="tenant_create").order_by("id")
    return list(rows.values_list("verb", flat=True))


@pytest.mark.django_db
def test_records_are_written_once_at_the_end_of_the_outermost_deed() -> None:
    tenant = tenant_make("alice")
    with CaptureQueriesContext(connection) as queries, recorded():
        first = note(tenant, "one")
        with recorded():
            note(tenant, "two")
        assert verbs() == [] and first.pk is None
        note(tenant, "three")
    assert verbs() == ["one", "two", "three"] and first.pk is not None
    assert sum("pg_advisory_xact_lock" in query["sql"] for query in queries) == 1
    chain = list(AuditRecord.objects.order_by("id").values_list("previous_hash", "hash"))
    assert [before for before, _ in chain[1:]] == [own for _, own in chain[:-1]]


@pytest.mark.django_db
def test_an_inner_deed_that_fails_takes_its_own_records_along() -> None:
    tenant = tenant_make("alice")
    with recorded():
        note(tenant, "kept")
        with pytest.raises(RuntimeError), recorded():
            note(tenant, "lost")
            raise RuntimeError
        with pytest.raises(RuntimeError), transaction.atomic():  # a plain savepoint is as good
            note(tenant, "lost too")
            raise RuntimeError
        note(tenant, "kept too")
    assert verbs() == ["kept", "kept too"]
    with pytest.raises(RuntimeError), recorded():
        note(tenant, "nothing")
        raise RuntimeError
    assert verbs() == ["kept", "kept too"]


@pytest.mark.django_db(transaction=True)
def test_two_deeds_that_record_before_they_lock_do_not_wait_in_a_circle() -> None:
    """One notes first and locks a row after; the other holds that row and notes. Both come through."""
    tenant = tenant_make("alice")
    noted, locked = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def other() -> None:
        try:
            with recorded():
                assert noted.wait(WAIT_S)
                Tenant.objects.filter(pk=tenant.pk).update(name="Other")
                locked.set()
                note(tenant, "other")
        except BaseException as error:
            failed.append(error)
        finally:
            locked.set()
            connection.close()

    thread = threading.Thread(target=other)
    thread.start()
    try:
        with recorded():
            note(tenant, "mine")
            noted.set()
            assert locked.wait(WAIT_S)
            Tenant.objects.filter(pk=tenant.pk).update(name="Mine")
    finally:
        thread.join(WAIT_S)
        close_old_connections()
    assert not failed and sorted(verbs()) == ["mine", "other"]
    assert Tenant.objects.get(pk=tenant.pk).name == "Mine"


def test_a_deadlock_is_not_a_database_that_is_away() -> None:
    def wrapped(cause: Any) -> OperationalError:
        error = OperationalError(str(cause))
        error.__cause__ = cause
        return error

    assert contended(wrapped(DeadlockDetected("deadlock detected")))
    assert not contended(wrapped(ConnectionError("gone"))) and not contended(None)
