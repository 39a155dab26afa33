"""What went wrong is a page with a sentence and a next step; a store that is away is said, never a trace."""

from __future__ import annotations

import http.cookiejar
import re
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client, RequestFactory

from portal import errors
from portal.accounts.choices import PlatformRole
from portal.accounts.models import User
from tests import cast
from tests.forwarder import Forwarder
from tests.portal_cast import PASSWORD, collect_static, free_port, person, portal
from tests.web.conftest import Everybody

As = Callable[[User | None], Client]


@dataclass
class Outage:
    """A portal whose stores can be taken away, and a browser signed in there."""

    address: str
    browser: urllib.request.OpenerDirector
    postgres: Forwarder
    valkey: Forwarder

    def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """(status, Retry-After, text)."""
        try:
            with self.browser.open(urllib.request.Request(self.address + path, headers=headers), timeout=60) as answer:
                return answer.status, "", answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("Retry-After", ""), error.read().decode()


@pytest.fixture
def outage(process_environment: dict[str, str], valkey: object) -> Iterator[Outage]:
    cast.world_make()
    person("olga@example.org", PlatformRole.OPERATOR)
    folder = Path(tempfile.mkdtemp(prefix="tp-out-"))
    host, port = str(connection.settings_dict["HOST"]), str(connection.settings_dict["PORT"])
    postgres = Forwarder(folder / f".s.PGSQL.{port}", f"{host}/.s.PGSQL.{port}")
    store = Forwarder(folder / "valkey", urlsplit(process_environment["REDIS_URL"]).path)
    environment = {
        **process_environment,
        "DATABASE_URL": process_environment["DATABASE_URL"].replace(f"host={host}", f"host={folder}"),
        "REDIS_URL": f"unix://{folder}/valkey",
        "DATABASE_POOL_SIZE": "2",
    }
    collect_static(environment)
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    with portal(environment, free_port()) as address:
        made = Outage(address, browser, postgres, store)
        page = made.get("/sign-in/")[2]
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None
        form = {"csrfmiddlewaretoken": token[1], "email": "olga@example.org", "password": PASSWORD}
        browser.open(f"{address}/sign-in/", urllib.parse.urlencode(form).encode(), timeout=60)
        assert made.get("/tiers/")[0] == 200
        yield made
    for part in (postgres, store):
        part.shut()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.django_db(transaction=True)
def test_without_postgresql_every_page_says_so(outage: Outage) -> None:
    outage.postgres.shut()
    paths = ("/tiers/", "/", "/nowhere/", "/t/alice/")
    with ThreadPoolExecutor(len(paths)) as together:  # each waits for a connection as long as it may
        answers = list(together.map(outage.get, paths))
    for path, (status, retry, text) in zip(paths, answers, strict=True):
        assert (status, retry) == (503, "5"), path
        assert "PostgreSQL) does not answer" in text and "Traceback" not in text
    status, _, text = outage.get("/tiers/", **{"HX-Request": "true"})
    assert status == 503 and "<" not in text, "a fragment gets the sentence alone"
    assert outage.get("/livez")[0] == 200 and outage.get("/readyz")[0] == 503


@pytest.mark.django_db(transaction=True)
def test_without_valkey_pages_work_or_say_so(outage: Outage) -> None:
    outage.valkey.shut()
    statuses = {path: outage.get(path) for path in ("/tiers/", "/tenants/", "/people/", "/system/", "/overview/")}
    for path, (status, _, text) in statuses.items():
        assert status in {200, 503}, path
        assert status == 200 or "Valkey) does not answer" in text
    assert statuses["/tiers/"][0] == statuses["/people/"][0] == 200, "what needs no store goes on"


def test_each_status_has_a_page_that_says_what_to_do(everybody: Everybody, as_: As) -> None:
    request = RequestFactory().get("/")
    request.user = everybody.olga
    for status, (title, advice) in errors.PAGES.items():
        page = errors.error_page(request, status)
        assert page.status_code == status and title in page.content.decode() and advice in page.content.decode()


def test_signed_in_people_keep_the_frame(everybody: Everybody, as_: As) -> None:
    lost = as_(everybody.olga).get("/nowhere/").content.decode()
    assert 'id="finder-input"' in lost and "To the start" in lost and lost.count("<h1") == 1
    stranger = Client().get("/nowhere/")
    assert stranger.status_code == 404 and b'id="finder-input"' not in stranger.content


def test_400_for_a_host_that_is_not_ours() -> None:
    answer = Client(headers={"host": "evil.example"}).get("/sign-in/")
    assert answer.status_code == 400 and b"could not be read" in answer.content


def test_500_is_drawn_without_a_database(monkeypatch: pytest.MonkeyPatch, everybody: Everybody) -> None:
    def broken(request: object) -> HttpResponse:
        raise RuntimeError("a secret detail")

    client = Client(raise_request_exception=False)
    client.force_login(everybody.olga)
    monkeypatch.setattr("portal.dashboards.views.search.search", lambda user, text: broken(text))
    answer = client.get("/search/?q=x")
    assert answer.status_code == 500 and b"Something broke on our side" in answer.content
    assert b"secret detail" not in answer.content
