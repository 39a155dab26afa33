"""The world behind ``benchmarks.pages``: seeded once, kept alive by real ticks, asked by Django's test client."""

from __future__ import annotations

import gc
import itertools
import logging
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import django

from benchmarks._common import median

FRESH_S = 20.0
METHODS = "405: it only takes what is sent"
NOT_PAGES = ("livez", "readyz", "sign-out", "home", "metrics")
BY_OTHERS = ("mfa_", "account_", "sso", "invitation", "onboard-")
"""Doors that need a state of their own: a link from a message, a second factor being set up, a step of a wizard."""
PARAMETERS = {
    "bulk": "?all=1&tier={tier}&pool={pool}",
    "audit": "?q=a",
    "search": "?q=bank",
    "search-drop": "?q=bank",
    "entitlements": "?sort=-tokens",
    "entitlements-live": "?ids={ids}",
    "requests": "?state=any",
    "tenant-home": "?pool={pool}",
}
"""What an address needs to show something, or to show a lot."""
EXPORTS = (".csv", "export.<")
"""Downloads are as long as what they hold: no page."""


@dataclass(frozen=True, slots=True)
class Page:
    """One route: ``part`` when a page fetches it (a fragment or JSON). ``cpu``: processor milliseconds of this process
    alone, which a busy machine does not change."""

    name: str
    path: str
    queries: int
    times: list[float]
    cpu: list[float]
    bytes_sent: int
    part: bool


class World:
    """The seeded installation. Use as a context; Django is set up on entering."""

    def __init__(self, size: str) -> None:
        self.size, self.said = size, ""
        self.skipped: list[tuple[str, str]] = []
        self._fresh_at = 0.0

    def __enter__(self) -> World:
        django.setup()
        logging.disable(logging.WARNING)  # every refused method would be a line
        from django.core.management import call_command
        from django.test import Client

        from pools.models import Entitlement, Pool
        from portal.accounts.choices import PlatformRole
        from portal.accounts.models import Tenant, User
        from portal.embedded.screen import Screen
        from portal.lib.clock import now
        from portal.management.seeding import bustle, seed
        from portal.seed.sizes import SIZES

        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False)
        if not Pool.objects.exists():
            seed(SIZES[self.size], 1, Screen())
        self.busy, self._now = bustle(1), now
        self.busy.begin(now())
        counts = (Tenant.objects.count(), Pool.objects.count(), Entitlement.objects.count())
        self.said = "{:,} tenants, {:,} pools, {:,} entitlements".format(*counts)
        self.client = Client(SERVER_NAME="localhost")
        self.client.force_login(User.objects.filter(platform_role=PlatformRole.ADMIN).order_by("pk")[0])
        gc.collect()
        gc.freeze()  # the world's maker is in this process; a web process would not have its millions of objects
        self.things = things()
        slug = dict(self.things["slug"])
        ids = Entitlement.objects.filter(pool__slug=slug["pools/"]).order_by("pk").values_list("pk", flat=True)[:50]
        self.words = {"pool": slug["pools/"], "tier": slug["tiers/"], "ids": ",".join(map(str, ids))}
        return self

    def __exit__(self, *error: object) -> None:
        from portal.management.prepare import close_connections

        close_connections()

    def floor(self, runs: int) -> list[float]:
        """The frame around a sentence: what no page goes below."""
        return self._times("/there-is-nothing-here/", runs)[0]

    def pages(self, only: str, runs: int) -> Iterator[Page]:
        """Every route that answers a GET with something, in the order of their names."""
        for name, path in routes():
            if only not in name:
                continue
            at, why = self._address(path, PARAMETERS.get(name, "").format(**self.words))
            if not at:
                self.skipped.append((name, why))
                continue
            yield self._measured(name, at, runs)

    def _address(self, path: str, more: str) -> tuple[str, str]:
        """A real address of a route, or why there is none."""
        why = "no object to show"
        for at in (f"{plain}{more}" for plain in addresses(path, self.things)):
            answer = self.client.get(at)
            if answer.status_code == 200:
                return at, ""
            why = METHODS if answer.status_code == 405 else f"answers {answer.status_code}"
            if answer.status_code == 405:
                break
        return "", why

    def _measured(self, name: str, at: str, runs: int) -> Page:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        self._refresh()
        answer = self.client.get(at)
        with CaptureQueriesContext(connection) as seen:
            answer = self.client.get(at)
        queries, body = len(seen), bytes(answer.content)  # counted now: the next request empties the list
        times, cpu = self._times(at, runs)
        return Page(name, at, queries, times, cpu, len(body), b"<!doctype html>" not in body[:200].lower())

    def _times(self, at: str, runs: int) -> tuple[list[float], list[float]]:
        times, cpu = [], []
        for _ in range(runs + 1):
            begun, worked = time.perf_counter(), time.process_time()
            self.client.get(at)
            times.append(1000 * (time.perf_counter() - begun))
            cpu.append(1000 * (time.process_time() - worked))
        return times[1:], cpu[1:]

    def _refresh(self) -> None:
        """Live numbers are never older than they may be on a page."""
        if time.monotonic() - self._fresh_at > FRESH_S:
            self.busy.tick(self._now())
            self._fresh_at = time.monotonic()


def routes() -> list[tuple[str, str]]:
    """(name, path) of every door of the portal's own, by name."""
    from django.urls import URLPattern, URLResolver, get_resolver

    def walk(resolver: Any, prefix: str) -> Iterator[tuple[str, str]]:
        for item in resolver.url_patterns:
            at = prefix + str(item.pattern)
            if at.startswith(("back-office/", "api/")):
                continue
            if isinstance(item, URLResolver):
                yield from walk(item, at)
            elif isinstance(item, URLPattern) and _is_page(item.name or "", at):
                yield str(item.name), at

    return sorted(set(walk(get_resolver(), "")))


def _is_page(name: str, at: str) -> bool:
    return bool(name) and name not in NOT_PAGES and not any(mark in at for mark in EXPORTS)


def things() -> dict[str, list[tuple[str, Any]]]:
    """Name in a path → (beginning of the path, value), the fullest of each kind first."""
    from django.db.models import Count, Q

    from pools.models import (
        Alert,
        AlertChannel,
        AlertDelivery,
        AlertRule,
        BulkJob,
        Endpoint,
        Entitlement,
        EntitlementRequest,
        Pool,
        Tier,
    )
    from portal.accounts.models import ApiKey, Tenant, User
    from portal.audit.models import AuditRecord

    living = Count("entitlements", filter=~Q(entitlements__state="expired"))
    pool = Pool.objects.annotate(n=living).order_by("-n", "pk")[0]
    tenant = Tenant.objects.annotate(n=living).order_by("-n", "pk")[0]
    tier = Tier.objects.annotate(n=living).filter(service_class="elastic").order_by("-n", "pk")[0]
    entitlement = Entitlement.objects.filter(pool=pool, tier=tier, state="bound").order_by("pk")[0]
    slugs = [
        ("t/", tenant.slug), ("tenants/", tenant.slug), ("pools/", pool.slug), ("tiers/", tier.slug),
        ("entitlements/", entitlement.slug), ("timeline/", pool.slug), ("scaling/", pool.slug),
        ("fairness/", entitlement.slug), ("", pool.slug), ("", entitlement.slug), ("", tier.slug), ("", tenant.slug),
    ]  # fmt: skip

    def ids_of(model: Any) -> list[tuple[str, Any]]:
        return [("", pk) for pk in model.objects.order_by("pk").values_list("pk", flat=True)[:1]]

    return {
        "slug": slugs,
        "job_id": [("", BulkJob.objects.order_by("-total", "pk").values_list("pk", flat=True)[0])],
        "request_id": [("", EntitlementRequest.objects.filter(state="open").values_list("pk", flat=True)[0])],
        "record_id": [("", AuditRecord.objects.order_by("-pk").values_list("pk", flat=True)[0])],
        "key_id": [("", ApiKey.objects.filter(tenant=tenant).values_list("pk", flat=True)[0])],
        "user_id": [("", User.objects.order_by("pk").values_list("pk", flat=True)[0])],
        "number": [("", 1)],
        "rule_id": ids_of(AlertRule),
        "channel_id": ids_of(AlertChannel),
        "alert_id": ids_of(Alert),
        "delivery_id": ids_of(AlertDelivery),
        "endpoint_id": ids_of(Endpoint),
    }


def addresses(path: str, known: dict[str, list[tuple[str, Any]]]) -> Iterator[str]:
    """The path with its parameters filled in, likeliest first."""
    names = [part.split(">")[0] for part in path.split("<")[1:]]
    choices = []
    for name in names:
        kind, _, key = name.rpartition(":")
        offered = [
            value for begins, value in known.get(key, [("", 1 if kind == "int" else "x")]) if path.startswith(begins)
        ]
        choices.append([(name, value) for value in dict.fromkeys(offered)] or [(name, 1)])
    for chosen in itertools.islice(itertools.product(*choices), 8):
        at = path
        for name, value in chosen:
            at = at.replace(f"<{name}>", str(value))
        yield "/" + at


def written(world: World, floor: Sequence[float], pages: Sequence[Page], runs: int) -> str:
    """The table as a page of the documentation."""
    base = median(floor)
    head = (
        "# How fast the pages are\n\n"
        f"Measured by `python -m benchmarks.pages --markdown docs/performance-pages.md` on {world.said} "
        "(2,000 of them in one pool, 200 of one tenant), in one process through Django's test client, signed in as a "
        f"platform admin, with real ticks: server time, p50 of {runs} runs, CPython {platform.python_version()}. The "
        f"frame alone, a page with nothing in it, took {base:.1f} ms in the same run; *× frame* is the ratio to it, "
        "which says more about the code than milliseconds of one machine; *CPU ms* is the process alone, without the "
        "database and without neighbours.\n\n"
        "Limits: 300 ms and 30 queries a page, whatever the world holds; 80 ms for the usual page. "
        "The number of queries is kept by `tests/web/query_counts.json`.\n"
    )
    parts = [head]
    for title, which in (("Pages", False), ("Parts that pages fetch", True)):
        rows = [page for page in pages if page.part is which]
        if not rows:
            continue
        parts.append(f"\n## {title}\n\n| route | queries | server ms (p50) | CPU ms | × frame | KiB |")
        parts.append("|---|---:|---:|---:|---:|---:|")
        for page in sorted(rows, key=lambda one: -median(one.times)):
            ms = median(page.times)
            size = max(1, round(page.bytes_sent / 1024))
            row = f"{page.queries} | {ms:.0f} | {median(page.cpu):.0f} | {ms / base:.1f} | {size}"
            parts.append(f"| {page.name} | {row} |")
    return "\n".join(parts) + "\n"
