"""``manage.py screenshots``: photograph every page of the running portal, light and dark, wide and narrow."""

from __future__ import annotations

import io
import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = (1440, 360)
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
TALLEST = {1440: 1700, 360: 2600}
COLOURS = 256
EXACT = 64
SETTLE_MS = 4000
OPERATOR_PAGES = {
    "overview": "/overview/",
    "pools": "/pools/",
    "pool": "/pools/{pool}/",
    "pool-new": "/pools/new/?step=replica&slug=support&model_name=support-8b",
    "pool-settings": "/pools/{pool}/settings/",
    "pool-profiles": "/pools/{pool}/profiles/",
    "pool-profile-new": "/pools/{pool}/profiles/new/",
    "pool-promise": "/pools/{pool}/promise/?count=3&class=guaranteed&tokens=46&kv=50+MiB&slots=1",
    "pool-hold": "/pools/{pool}/hold/",
    "pool-rolling": "/pools/{pool}/endpoints/rolling/",
    "tiers": "/tiers/",
    "tier": "/tiers/elastic-gold/",
    "tier-edit": "/tiers/elastic-gold/edit/",
    "tier-new": "/tiers/new/",
    "entitlements": "/entitlements/",
    "entitlement": "/entitlements/atlas-retail-chat/",
    "entitlement-new": "/entitlements/new/",
    "bulk": "/entitlements/bulk/?all=1",
    "jobs": "/entitlements/jobs/",
    "requests": "/requests/",
    "tenants": "/tenants/",
    "tenant": "/tenants/atlas-retail/",
    "onboard": "/onboard/look/promise/",
    "tenant-suspend": "/tenants/atlas-retail/suspend/",
    "tenant-offboard": "/tenants/atlas-retail/offboard/",
    "scaling": "/scaling/",
    "fairness": "/fairness/",
    "fairness-pool": "/fairness/?pool={pool}&range=15m",
    "explain": "/entitlements/atlas-retail-chat/explain/",
    "timeline": "/timeline/?pool={pool}&range=15m",
    "people": "/people/",
    "people-groups": "/people/groups/",
    "search": "/search/?q=chat",
    "account": "/account/",
    "system": "/system/",
    "audit": "/audit/",
    "alerts": "/alerts/",
    "alert-rule-new": "/alerts/rules/new/",
    "alert-history": "/alerts/history/",
    "alert-messages": "/alerts/deliveries/",
}
TENANT_PAGES = {
    "tenant-home": "",
    "tenant-usage": "usage/",
    "tenant-debt": "debt/",
    "tenant-explain": "explain/",
    "tenant-keys": "keys/",
    "tenant-limits": "limits/",
    "tenant-members": "members/",
    "tenant-history": "audit/",
    "tenant-requests": "requests/",
}


class Command(BaseCommand):
    """Needs a portal that runs (``manage.py up``) and its demo logins in VAR_DIR/demo.env; writes docs/screenshots."""

    help = "Photograph the pages of the running portal into docs/screenshots (light and dark, 360 and 1440 px)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where to, and which pages."""
        parser.add_argument(
            "--into", default=str(settings.BASE_DIR / "docs" / "screenshots"), help="folder to write to"
        )
        parser.add_argument("--only", default="", help="comma-separated names of pages")
        parser.add_argument("--url", default="", help="address of the portal (default: WEB_URL of demo.env)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Signs in as the operator, then as the tenant, and photographs."""
        try:
            from PIL import Image
            from playwright.sync_api import sync_playwright
        except ImportError as error:
            raise CommandError(f"{error}. Screenshots need the development packages: make install.") from error
        browser_path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
        if browser_path is None:
            raise CommandError("There is no Chromium on PATH; install one to take screenshots.")
        known = demo_env(Path(settings.VAR_DIR) / "demo.env")
        address = options["url"] or known.get("WEB_URL") or f"http://127.0.0.1:{settings.WEB_PORT}"
        into, only = Path(options["into"]), {name for name in options["only"].split(",") if name}
        into.mkdir(parents=True, exist_ok=True)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
            for theme in THEMES:
                for width in WIDTHS:
                    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
                    for name, taken in photographs(context.new_page(), address.rstrip("/"), known, only):
                        save(Image.open(io.BytesIO(taken)), into / f"{name}-{theme}-{width}.png", width)
                        self.stdout.write(f"{name}-{theme}-{width}.png")
                    context.close()
            browser.close()


def demo_env(path: Path) -> dict[str, str]:
    """NAME=value lines. Raises CommandError when the demo world is not there."""
    if not path.exists():
        raise CommandError(f"{path} is not there; start the demo first: manage.py up")
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def photographs(page: Any, address: str, known: dict[str, str], only: set[str]) -> Any:
    """(name, PNG) of each wanted page."""
    page.goto(f"{address}/sign-in/")
    if not only or "sign-in" in only:
        yield "sign-in", page.screenshot()
    _enter(page, known["OPERATOR_EMAIL"], known["OPERATOR_PASSWORD"])
    page.goto(f"{address}/pools/")
    first = page.locator("tbody th a").first
    pool = urlsplit(first.get_attribute("href") or "").path.strip("/").split("/")[-1] if first.count() else ""
    for name, path in OPERATOR_PAGES.items():
        if (not only or name in only) and (pool or "{pool}" not in path):
            yield name, _photograph(page, address + path.format(pool=pool))
    page.context.clear_cookies()
    page.goto(f"{address}/sign-in/")
    _enter(page, known["TENANT_EMAIL"], known["TENANT_PASSWORD"])
    home = f"{address}{urlsplit(page.url).path}"
    for name, path in TENANT_PAGES.items():
        if not only or name in only:
            yield name, _photograph(page, home + path)


def _enter(page: Any, email: str, password: str) -> None:
    page.fill("#id_email", email)
    page.fill("#id_password", password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/sign-in/" not in url)


def _photograph(page: Any, address: str) -> bytes:
    page.goto(address)
    if page.locator(".skeleton").count():
        page.wait_for_selector(".skeleton", state="detached")
    if page.locator("[id^=chart-]").count():
        page.wait_for_selector(".chart.waiting", state="detached")
        page.wait_for_timeout(SETTLE_MS)
    taken: bytes = page.screenshot(full_page=True)
    return taken


def save(image: Any, path: Path, width: int) -> None:
    """Few colours and a limited height keep the repository small. The colours that cover most stay as they are; a
    saturated one counts several times, for it has a meaning even where it is a small mark."""
    from PIL import Image

    shot = image.convert("RGB").crop((0, 0, image.width, min(image.height, TALLEST[width])))
    counted = shot.getcolors(shot.width * shot.height)
    common = sorted(counted, key=lambda one: -one[0] * (1 + (max(one[1]) - min(one[1])) // 4))[:COLOURS]
    palette = shot.resize((1, 1)).convert("P")
    palette.putpalette([part for _, colour in common for part in colour])
    nearest = np.array(shot.quantize(palette=palette, dither=0))
    pixels = np.asarray(shot).astype(np.int32) @ np.array([65_536, 256, 1])
    for index, (_, (red, green, blue)) in enumerate(common[:EXACT]):  # Pillow's nearest is only near
        nearest[pixels == red * 65_536 + green * 256 + blue] = index
    small = Image.fromarray(nearest)
    small.putpalette(palette.getpalette())
    small.save(path, optimize=True)
