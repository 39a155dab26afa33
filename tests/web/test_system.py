"""The System page: every part told as it is, no secret shown, open even while a part is dead."""

from __future__ import annotations

import socket
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from django.conf import settings as loaded
from django.test import Client

from pools.counters.keys import reservation_key
from pools.counters.types import Ask
from pools.services.alerting import READ_KEY, alerts_watch
from pools.services.drift import drift_measure
from pools.services.store import counters
from pools.tasks import drift, orphans
from portal import __version__, env
from portal.accounts.models import User
from portal.celery import app
from portal.dashboards import system_health as health
from portal.dashboards import system_reads as reads
from portal.dashboards.system_settings import HIDDEN, address_shown, settings_shown, shown
from portal.env import SETTINGS, Setting
from portal.lib.clock import now, now_ms
from portal.lib.hot import hot
from portal.lib.pulse import GATEWAYS_KEY, WORKERS_KEY, Ran, pulses_forget, pulses_of, task_ran
from tests.cast import KV_TOKEN
from tests.portal_cast import publish
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]
ALPHA, BETA = "s3cr3t-alpha", "s3cr3t-beta"


def alive(at_ms: int | None = None) -> None:
    """Signs of life of a worker that ran everything, and of a gateway."""
    moment = at_ms or now_ms()
    for name in app.conf.beat_schedule:
        task_ran(hot(), Ran(name, moment, 12, True, "celery@one"))
    told = {"at": moment, "version": __version__, "requests": 3, "draining": False, "ready": True}
    hot().hset(GATEWAYS_KEY, "host:8001:1", orjson.dumps(told).decode())


def test_all_is_well(everybody: Everybody, as_: As) -> None:
    alive()
    hot().set("tp:epoch", "x")
    drift_measure([everybody.world.pool.pk], now())
    publish(everybody.world.pool, at_ms=now_ms() + 60_000)  # however slow this machine is
    answer = as_(everybody.ada).get("/system/")
    text = answer.content.decode()
    assert answer.context["troubles"] == [] and "Everything answers and is on time." in text
    assert "celery@one" in text and f"gateway {__version__}, 3 in flight" in text and "all applied" in text
    assert "Count anew" not in text, "auditors change nothing"
    assert "Count anew" in as_(everybody.olga).get("/system/now/").content.decode()


def test_what_is_wrong_is_said_first(everybody: Everybody, as_: As) -> None:
    pool, alice = everybody.world.pool, everybody.world.alice
    counters().reserve(Ask(pool.pk, alice.pk, "r1", 64, 64 * KV_TOKEN))
    hot().delete(reservation_key(pool.pk, alice.pk, "r1"))
    drift_measure([pool.pk], now())
    publish(pool, at_ms=now_ms() - 60_000)
    hot().rpush("tp-celery:default", *["x"] * 60)
    hot().rpush("tp:samples:waiting", "x")
    text = " ".join(as_(everybody.olga).get("/system/").context["troubles"])
    for says in (
        "No worker has run",
        "No gateway says",
        "tick is late in 1 of 1 pools: chat-8b",
        "Counters differ from the live reservations in chat-8b",
        "Tasks pile up in default (60)",
        "batches of samples wait",
    ):
        assert says in text, says


def test_counters_are_counted_anew(everybody: Everybody, as_: As) -> None:
    pool, alice = everybody.world.pool, everybody.world.alice
    counters().reserve(Ask(pool.pk, alice.pk, "r1", 64, 64 * KV_TOKEN))
    hot().delete(reservation_key(pool.pk, alice.pk, "r1"))
    answer = as_(everybody.olga).post("/system/recount/chat-8b/")
    assert answer.status_code == 302 and counters().drift(pool.pk).sequences == 0
    assert as_(everybody.ada).post("/system/recount/chat-8b/").status_code == 403
    assert as_(everybody.olga).post("/system/recount/none/").status_code == 404


@pytest.fixture
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a store that takes connections and never says a word."""
    path = f"{tmp_path_factory.mktemp('s')}/s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        yield f"unix://{path}"


def elsewhere(settings: Any, url: str) -> None:
    settings.REDIS_URL = url
    settings.CACHES = {name: {**given, "LOCATION": url} for name, given in loaded.CACHES.items()}


def test_it_opens_while_the_store_is_stopped(everybody: Everybody, as_: As, settings: Any) -> None:
    client = as_(everybody.olga)
    client.get("/system/")
    elsewhere(settings, "unix:///nowhere/valkey.sock")
    answer = client.get("/system/")
    text = answer.content.decode()
    assert answer.status_code == 200 and "The hot store is away." in text and "PostgreSQL" in text
    assert 'class="chip failed">away' in text and "unknown" in text
    assert client.post("/system/recount/chat-8b/").status_code in {302, 503}
    assert client.get("/audit/").status_code == 200 and client.get("/alerts/rules/new/").status_code in {200, 503}


def test_it_opens_while_the_store_hangs(everybody: Everybody, as_: As, settings: Any, silent: str) -> None:
    client = as_(everybody.olga)
    client.get("/system/")
    elsewhere(settings, silent)
    answer = client.get("/system/now/")
    assert answer.status_code == 200 and "does not answer within 1 s" in answer.content.decode()


def test_no_secret_is_ever_shown(everybody: Everybody, as_: As, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    for setting in SETTINGS:
        if setting.secret and not setting.name.endswith("_URL"):
            monkeypatch.setenv(setting.name, f"{ALPHA}-{setting.name}")
    for name in ("DATABASE_URL", "REDIS_URL", "EMAIL_URL"):
        monkeypatch.setenv(name, f"smtp://{ALPHA}:{BETA}@db.example.org:5432/app?password={BETA}&sslkey={ALPHA}")
    monkeypatch.setenv("PORTAL_URL", f"https://{ALPHA}:{BETA}@portal.example.org")
    monkeypatch.setenv("OIDC_ISSUER", f"https://{ALPHA}:{BETA}@sso.example.org/realm")
    text = as_(everybody.olga).get("/system/").content.decode()
    assert ALPHA not in text and BETA not in text and settings.SECRET_KEY not in text
    assert "smtp://db.example.org:5432/app" in text and HIDDEN in text and "https://sso.example.org/realm" in text
    assert {line.name for line in settings_shown()} == {setting.name for setting in SETTINGS}


def test_secrets_the_table_forgot_are_hidden_by_their_names() -> None:
    for name in ("NEW_SECRET", "SMTP_PASSWORD", "API_TOKEN"):
        assert shown(Setting(name, "", "str", ""), ALPHA) == HIDDEN
    assert shown(Setting("PLACE", "", "str", ""), f"x://u:{ALPHA}@h/ and y://{BETA}@k/") == "x://h/ and y://k/"
    assert shown(Setting("PLACE", "", "str", ""), "") == "–"
    for text in (f"postgresql://u:{ALPHA}@h:99999999/", f"u:{ALPHA}@h", f"host=h password={ALPHA}", f"a:b:{ALPHA}@c"):
        assert ALPHA not in address_shown(text), text
    assert all(one.secret for one in SETTINGS if one.name in {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "EMAIL_URL"})


def test_tasks_leave_signs_of_life(everybody: Everybody) -> None:
    orphans()
    drift(0)
    found = reads.store([everybody.world.pool.pk])
    assert not isinstance(found, str)
    assert {"pools.tasks.orphans", "pools.tasks.drift-0"} <= set(found.pulses.tasks)
    assert found.pulses.workers and found.library == reads_library()


def reads_library() -> tuple[int, int]:
    from pools.counters import library, records

    return records.LAYOUT, library.BUILD


def test_late_and_failed_lines_come_first() -> None:
    schedule = {
        "a": {"task": "a", "schedule": 1},
        "b": {"task": "b", "schedule": 60},
        "c": {"task": "c", "schedule": 5},
    }
    ran = {"a": Ran("a", 100_000, 1, True, "w"), "b": Ran("b", 100_000, 1, False, "w")}
    lines = health.beat_lines(schedule, {"a": "because"}, ran, 131_000)
    assert [(line.name, line.state) for line in lines] == [("b", "failed"), ("a", "late"), ("c", "waiting")]
    assert health.beat_lines(schedule, {}, ran, 101_000)[-1].state == "ok"


def test_broken_signs_are_left_out_and_old_ones_dropped() -> None:
    good = orjson.dumps({"at": 5})
    found = pulses_of({b"t": b"{", b"u": b"[]"}, {b"w": good, b"\xff": good}, {b"g": orjson.dumps({"at": "x"})})
    assert found.tasks == {} and [one.name for one in found.workers] == ["w"] and found.gateways == []
    hot().hset(WORKERS_KEY, "w", good.decode())
    pulses_forget(hot(), found, 10**12)
    assert hot().hlen(WORKERS_KEY) == 0


def test_a_sign_of_life_is_never_in_the_way() -> None:
    away = redis.Redis(unix_socket_path="/nowhere/s")
    task_ran(away, Ran("t", 1, 1, True, "w"))


def test_charts_of_the_tick(everybody: Everybody, as_: As) -> None:
    hot().delete(READ_KEY)
    alerts_watch(now())
    found = as_(everybody.ada).get("/system/charts/?range=1h").json()
    assert found["lag"]["data"][0]["name"] == "tick lag" and len(found["lag"]["data"][0]["y"]) == 1
    assert as_(everybody.eda).get("/system/charts/").status_code == 403


def test_the_version_is_one() -> None:
    project = tomllib.loads((Path(env.BASE_DIR) / "pyproject.toml").read_text())
    assert project["project"]["version"] == __version__
