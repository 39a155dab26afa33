"""A real Chromium on a real portal. Skipped with the reason where there is none, unless REQUIRE_BROWSER=1."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from portal.accounts.choices import PlatformRole, TenantRole
from tests import cast
from tests.portal_cast import PASSWORD, collect_static, find_chromium, free_port, person, portal, publish

PATIENCE_MS = 15_000
"""Some parts of a page are fetched every five seconds, and the machine may be busy."""
expect.set_options(timeout=PATIENCE_MS)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for all tests here.

    Playwright's event loop runs in this thread as long as the browser does: it must be gone before a test that brings
    a loop of its own; ``tests/conftest.py`` puts the browser tests last.
    """
    path = find_chromium()
    if path is None:
        sentence = "no Chromium on this machine (PATH or CHROMIUM); install one to run the browser tests"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright's loop runs in this thread; the ORM is used beside it
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            yield browser
            browser.close()
    finally:
        os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)


class Portals:
    """The portal's process: it stays from test to test, unless the next one wants another environment or it is gone.

    The tables and the hot store are emptied under it between tests, which it has to bear anyhow.
    """

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self.port = 0
        self.running = ExitStack()

    def serve(self, environment: dict[str, str]) -> str:
        """The address of a portal with this environment."""
        settings = {name: value for name, value in environment.items() if name != "PYTEST_CURRENT_TEST"}
        if settings != self.environment or not self._answers():
            self.stop()
            self.environment, self.port = settings, free_port()
            self.running.enter_context(portal(environment, self.port))
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Ends it."""
        self.running.close()
        self.environment = {}

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture(scope="package")
def portals() -> Iterator[Portals]:
    """One for all tests here."""
    made = Portals()
    yield made
    made.stop()


@dataclass
class Site:
    """The portal, its world, and what browsers complained about."""

    address: str
    port: int
    world: cast.World
    environment: dict[str, str]
    complaints: list[str] = field(default_factory=list)

    def publish(self, **changes: Any) -> None:
        """A message as the tick sends it."""
        publish(self.world.pool, **changes)


@pytest.fixture
def environment(chromium: Browser, process_environment: dict[str, str], valkey: object) -> dict[str, str]:
    """Of the portal's process."""
    collect_static(process_environment)
    return process_environment


@pytest.fixture
def site(environment: dict[str, str], portals: Portals) -> Site:
    """A portal with one pool; olga operates, eda belongs to Eve's team."""
    world = cast.world_make()
    person("olga@example.org", PlatformRole.OPERATOR)
    person("eda@example.org", tenant=world.eve.tenant, role=TenantRole.ADMIN)
    publish(world.pool)
    address = portals.serve(environment)
    return Site(address, portals.port, world, environment)


Opens = Callable[..., Page]


@pytest.fixture
def opens(chromium: Browser, site: Site) -> Iterator[Opens]:
    """opens(email, path, width=, dark=): a page of somebody signed in. Notes console errors and foreign requests."""
    contexts: list[BrowserContext] = []

    def open_page(email: str, path: str, *, width: int = 1280, dark: bool = False) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda m: site.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: site.complaints.append(str(error)))
        page.on(
            "request",
            lambda r: (
                None
                if r.url.startswith((site.address, "data:", "ws://127.0.0.1", "blob:"))
                else site.complaints.append(r.url)
            ),
        )
        page.goto(f"{site.address}/sign-in/?next={path}")
        page.fill("#id_email", email)
        page.fill("#id_password", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url(f"{site.address}{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
