"""Scrape many endpoints at once: /health and /metrics, each within a bounded time. For synchronous callers.

Metrics that are missing for more than three scrapes count as full, never as empty (Token Pools design).
"""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlsplit

import aiohttp

from pools.providers.exposition import EndpointMetrics, parse

STALE_AFTER = 3
LARGEST_TEXT = 4 * 1024 * 1024
AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one endpoint told: the status of /health (None = no answer), its metrics (None = none), and why not."""

    url: str
    health: int | None
    metrics: EndpointMetrics | None
    detail: str = ""

    @property
    def answered(self) -> bool:
        """Healthy and with metrics: this scrape was not missed."""
        return self.health == 200 and self.metrics is not None


def scrape_all(urls: Iterable[str], now: datetime, timeout_s: float = 1.0) -> dict[str, Scrape]:
    """One scrape of each URL, at most 64 at once, each done within ``timeout_s``; never raises for an endpoint.

    Call it from a thread without a running event loop (a Celery task, a command).
    """
    wanted = tuple(dict.fromkeys(urls))
    return asyncio.run(_scrape_all(wanted, now, timeout_s)) if wanted else {}


def is_stale(missed: int) -> bool:
    """True when so many scrapes in a row were missed that the last figures mean nothing any more."""
    return missed > STALE_AFTER


def counted(last: EndpointMetrics | None, missed: int, slots: int, now: datetime) -> EndpointMetrics:
    """What to reckon with: the last figures, or a full endpoint of ``slots`` slots when stale or never seen."""
    if last is not None and not is_stale(missed):
        return last
    if last is None:
        return EndpointMetrics(slots, 0, 1.0, 0, 0, 0, 0, now)
    return replace(last, running=max(slots, last.running), kv_usage=1.0)


def check_health(url: str, timeout_s: float) -> int | None:
    """The status of ``url``/health, None when there is no answer in time."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    except (ValueError, http.client.InvalidURL):
        return None
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/health")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


async def _scrape_all(urls: tuple[str, ...], now: datetime, timeout_s: float) -> dict[str, Scrape]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=timeout_s), trust_env=False
    ) as session:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(url: str) -> Scrape:
            async with gate:
                return await _scrape(session, url, now, timeout_s)

        return dict(zip(urls, await asyncio.gather(*map(one, urls)), strict=True))


async def _scrape(session: aiohttp.ClientSession, url: str, now: datetime, timeout_s: float) -> Scrape:
    health: int | None = None
    try:
        async with asyncio.timeout(timeout_s):
            async with session.get(f"{url}/health", allow_redirects=False) as answer:
                health = answer.status
            if health != 200:
                return Scrape(url, health, None, f"/health answers {health}.")
            async with session.get(f"{url}/metrics", allow_redirects=False) as answer:
                if answer.status != 200:
                    return Scrape(url, health, None, f"/metrics answers {answer.status}.")
                text = (await answer.content.read(LARGEST_TEXT)).decode("utf-8", "replace")
                while not answer.content.at_eof() and len(text) < LARGEST_TEXT:
                    text += (await answer.content.read(LARGEST_TEXT)).decode("utf-8", "replace")
        return Scrape(url, health, parse(text, now))
    except TimeoutError:
        return Scrape(url, health, None, f"No answer within {timeout_s:g} s.")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Scrape(url, health, None, f"{type(error).__name__}: {error}"[:300])
