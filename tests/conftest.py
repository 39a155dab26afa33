"""Fixtures of every room: an empty hot store for each test that asks for one, the environment of a child process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import redis
from django.apps import apps
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.backends.postgresql.operations import DatabaseOperations
from psycopg.errors import DeadlockDetected, LockNotAvailable

from tests import servers


def pytest_configure(config: pytest.Config) -> None:
    """The tests empty their hot store: never let them find a developer's."""
    if os.environ.get("DJANGO_SETTINGS_MODULE") != "tests.settings":
        raise pytest.UsageError("Unset DJANGO_SETTINGS_MODULE: the tests use tests.settings, on servers of their own.")

    # How long an example takes says something about the machine, nothing about the code.
    hypothesis.settings.register_profile(
        "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("unhurried")
    DatabaseOperations.execute_sql_flush = _flush_without_triggers  # type: ignore[method-assign]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: see ``tests/browser/conftest.py``."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def pytest_unconfigure(config: pytest.Config) -> None:
    servers.stop()


@pytest.fixture(scope="session")
def redis_url() -> str:
    """The URL of this pytest process's own Valkey."""
    return str(settings.REDIS_URL)


@pytest.fixture(scope="session")
def valkey_client(redis_url: str) -> Iterator[redis.Redis]:
    """A plain synchronous client (answers are bytes); does not empty the store, see ``valkey``."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def valkey(valkey_client: redis.Redis) -> Iterator[redis.Redis]:
    """An empty store: data, function libraries and scripts of earlier tests are gone."""
    _empty(valkey_client)
    yield valkey_client
    _empty(valkey_client)


@pytest.fixture
def process_environment(db: None) -> dict[str, str]:
    """The environment for a child process that shall see this test's database and store.

    The child sees committed rows only: use it with ``@pytest.mark.django_db(transaction=True)``.
    """
    options = connection.settings_dict
    url = f"postgresql://{options['USER']}@/{options['NAME']}?host={options['HOST']}&port={options['PORT']}"
    return {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "portal.settings"}


def _empty(client: redis.Redis) -> None:
    client.flushall()
    client.function_flush("SYNC")


def _flush_without_triggers(operations: Any, sql_list: list[str]) -> None:
    """Between transactional tests every table is emptied; the triggers of append-only tables would refuse that.

    A portal that serves browsers may be reading just then: whoever of the two PostgreSQL gives up, tries again.
    """
    for last in (False, False, True):
        try:
            _empty_tables(operations, sql_list)
        except OperationalError as error:
            if last or not isinstance(error.__cause__, DeadlockDetected | LockNotAvailable):
                raise
        else:
            return


def _empty_tables(operations: Any, sql_list: list[str]) -> None:
    with transaction.atomic(using=operations.connection.alias), operations.connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for statement in sql_list:
            cursor.execute(statement)
        for model in apps.get_models():  # tables that Django did not make, and so would not empty
            if sql_list and not model._meta.managed:
                cursor.execute(f"DELETE FROM {model._meta.db_table}")
