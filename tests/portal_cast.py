"""People at the portal, live messages as the tick writes them, and the portal itself as a process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from pools.mechanism.tick_record import pack
from pools.models import Entitlement, Pool
from pools.selectors.explain import record_key, records_read
from pools.selectors.live import LiveMessage, LivePool
from pools.services.amounts import base_of, cap_of
from pools.services.live import live_send
from pools.services.overview import overview_send
from pools.services.tick import shard_tick
from pools.services.tick_explain import explain_ask
from portal.accounts.choices import PlatformRole, TenantRole
from portal.accounts.models import Membership, Tenant, User
from portal.lib.clock import now, now_ms
from portal.lib.hot import hot

PASSWORD = "correct horse battery"
ROOT = Path(__file__).resolve().parent.parent


def person(
    email: str, platform_role: str = PlatformRole.NONE, tenant: Tenant | None = None, role: str = TenantRole.VIEWER
) -> User:
    """Somebody with a password that the real settings accept."""
    user = User(email=email, platform_role=platform_role)
    user.password = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1000)
    user.save()
    if tenant is not None:
        Membership.objects.create(tenant=tenant, user=user, role=role)
    return user


def live_message(
    pool: Pool,
    *,
    busy: float = 0.5,
    at_ms: int | None = None,
    kept: float | None = None,
    debt: float = 0.2,
    weight: float = 100.0,
    **changes: Any,
) -> LiveMessage:
    """A state in which everybody uses ``busy`` of the own ceiling. Elastic ones have the ``debt`` and what was ``kept``
    of the promise."""
    profile = pool.current_profile
    assert profile is not None
    rows: list[list[Any]] = []
    total = [0.0, 0.0, 0.0]
    for row in Entitlement.objects.filter(pool=pool).select_related("tier__current").order_by("id"):
        assert row.tier.current is not None
        base, cap = base_of(row).as_tuple(), cap_of(row, row.tier.current).as_tuple()
        use = [round(busy * value, 2) for value in cap]
        room = [limit - part for limit, part in zip(cap, use, strict=True)]
        total = [a + b for a, b in zip(total, use, strict=True)]
        elastic = row.tier.service_class == "elastic"
        owed, share = debt if elastic else 0.0, [kept] if kept is not None and elastic else []
        rows.append(
            [
                row.pk,
                row.tenant_id,
                use,
                cap,
                cap,
                base,
                weight,
                owed,
                0.0,
                6.0,
                "concurrency",
                row.state,
                room,
                use,
                share,
            ]
        )
    capacity = [float(profile.tokens_per_second * 2), float(profile.kv_bytes * 2), float(profile.concurrency * 2)]
    shown = {
        "capacity": capacity,
        "promised": [c / 2 for c in capacity],
        "use": total,
        "hold": [0.0, 0.0, 0.0],
        "headroom": [max(0.0, c - u) for c, u in zip(capacity, total, strict=True)],
        "contended": False,
        "ready": 2,
        "pending": 0,
        "draining": 0,
        "wanted": 2,
        "need": 1.4,
        "reason": "demand fits",
        "lag_ms": 3,
        "refused": {"concurrency": 2},
        "sentence": f"Room at {busy:.0%}.",
        **changes,
    }
    return LiveMessage(at_ms or now_ms(), LivePool(id=pool.pk, slug=pool.slug, **shown), rows)


def publish(pool: Pool, **changes: Any) -> bytes:
    """Send a state the way the tick does, with the sums of the overview; what was sent."""
    message = live_message(pool, **changes)
    live_send([message])
    overview_send(now_ms())
    return message.encoded()


def tick_kept(pool: Pool) -> None:
    """One real tick whose inputs are kept for explanations, as a debt step keeps them."""
    explain_ask(pool.pk, now_ms())
    shard_tick(pool.pk % settings.TICK_SHARDS, [pool.pk], now())
    record = records_read(pool.pk).latest
    assert record is not None
    given, rows = replace(record.given, debt_step=True), slice(0, record.ids.size)
    packed = pack(given, 0, rows, record.ids, pool.pk, record.at_ms)
    hot().set(record_key(pool.pk, debt_step=True), packed)


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def collect_static(environment: dict[str, str]) -> None:
    """Once per test run: the files as an installation serves them."""
    if not (Path(environment["VAR_DIR"]) / "static" / "staticfiles.json").exists():
        command = [sys.executable, "manage.py", "collectstatic", "--noinput", "-v0"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)


@contextmanager
def portal(environment: dict[str, str], port: int) -> Iterator[str]:
    """The portal as its own process on a port; its address."""
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "portal.asgi:application",
        "--port",
        str(port),
        "--ws",
        "websockets-sansio",
    ]
    log = Path(environment["VAR_DIR"]) / f"portal-{port}.log"
    with log.open("ab") as out:
        child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, child, log)
        yield address
    finally:
        children_end([child])


def children_end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Asks processes of a test to end, the last one first, and makes those that do not."""
    for child in reversed(children):
        child.terminate()
    for child in children:
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(5)


def _wait(address: str, child: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert child.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the portal did not become ready:\n{log.read_text()[-2000:]}")


def find_chromium() -> str | None:
    """A Chromium on this machine; CHROMIUM names another."""
    from shutil import which

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("CHROMIUM") or next((path for name in names if (path := which(name))), None)
