"""The fixtures every other room builds on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import redis
from django.conf import settings
from django.db import connection


@pytest.mark.django_db
def test_the_database_is_a_real_postgresql_made_for_tests() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        assert int(cursor.fetchone()[0]) >= 140000
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone()[0].startswith("test_")
        cursor.execute("SHOW listen_addresses")
        assert cursor.fetchone()[0] == ""


def test_each_pytest_process_has_its_own_empty_store(valkey: redis.Redis) -> None:
    assert valkey.dbsize() == 0
    assert valkey.function_list() == []
    assert str(settings.REDIS_URL).startswith("unix://")
    assert settings.VAR_DIR.is_relative_to(os.environ["VAR_DIR"])


@pytest.mark.django_db(transaction=True)
def test_a_child_process_sees_the_test_database(process_environment: dict[str, str]) -> None:
    script = "import django; django.setup(); from django.db import connection as c; print(c.settings_dict['NAME'])"
    done = subprocess.run(
        [sys.executable, "-c", script], env=process_environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == connection.settings_dict["NAME"]
